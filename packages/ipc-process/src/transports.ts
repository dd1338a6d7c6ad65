/** Where channels come from, by the scheme of their address. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { IpcError, type MakeConnect, type MakeListener } from '@spanwire/ipc-core';
import { socketConnect, socketListener } from '@spanwire/ipc-socket';

/** An address that nobody else knows, for one connection. */
export interface PrivateAddress {
  readonly address: string;
  /** Removes what was made for it. */
  release(): void;
}

/** A transport, for addresses of one scheme. */
export interface IpcTransport {
  /** How channels to `address` are opened. */
  connect(address: string): MakeConnect | Promise<MakeConnect>;
  /** Where channels on `address` come from. */
  listen(address: string): MakeListener | Promise<MakeListener>;
  /** For spawnProcess with this transport: without it, the scheme cannot be used there. */
  privateAddress?(): PrivateAddress;
}

/** Sockets: Unix sockets by default; give it the scheme `tcp` or `pipe` to allow those, too. TCP knows no users: whoever connects is served. */
export const socketTransport: IpcTransport = {
  connect: (address) => socketConnect(address),
  listen: (address) => socketListener(address),
  privateAddress: () => privateSocket('unix'),
};

/** What {@link shmTransport} needs of the native package. */
interface ShmPackage {
  shmConnect(address: string): MakeConnect;
  shmListener(address: string): MakeListener;
}

/** Not a literal: who does not install the native package must still be able to compile and bundle this one. */
const SHM_PACKAGE: string = '@spanwire/ipc-shm-native';

/** Shared memory, loaded when it is first used. Rejects with ERR_IPC_NATIVE_UNAVAILABLE where it is not installed or does not load. */
export const shmTransport: IpcTransport = {
  connect: async (address) => (await loadShm()).shmConnect(address),
  listen: async (address) => (await loadShm()).shmListener(address),
  privateAddress: () => privateSocket('shm'),
};

/** A socket file in a folder of its own, for this user alone. The one who made it removes it, so a server that dies meanwhile leaves nothing behind. */
function privateSocket(scheme: string): PrivateAddress {
  const folder = mkdtempSync(join(tmpdir(), 'spw-'));
  return {
    address: `${scheme}:${join(folder, 's')}`,
    release: () => rmSync(folder, { recursive: true, force: true }),
  };
}

async function loadShm(): Promise<ShmPackage> {
  let loaded: Partial<ShmPackage>;
  try {
    loaded = (await import(SHM_PACKAGE)) as Partial<ShmPackage>;
  } catch (error) {
    const message = `Shared memory needs the package ${SHM_PACKAGE}, which did not load`;
    throw new IpcError('ERR_IPC_NATIVE_UNAVAILABLE', message, { cause: error });
  }
  const { shmConnect, shmListener } = loaded;
  if (shmConnect === undefined || shmListener === undefined) {
    throw new IpcError('ERR_IPC_NATIVE_UNAVAILABLE', `Expected ${SHM_PACKAGE} to offer shmConnect and shmListener`);
  }
  return { shmConnect, shmListener };
}
