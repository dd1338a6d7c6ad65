/** Which transport an address means. */
import { IpcError, type ClientOptions, type IpcClient, type IpcServer, type ServerOptions } from '@spanwire/ipc-core';
import { createSocketClient, createSocketServer } from '@spanwire/ipc-socket';
import type { MaybePromise } from './schema.ts';

export interface Transport {
  createServer(address: string, options: ServerOptions): IpcServer;
  createClient(address: string, options: ClientOptions): IpcClient;
}

const sockets: Transport = { createServer: createSocketServer, createClient: createSocketClient };

/** What only some need is loaded when an address asks for it. Any other address is a socket's, which knows what is valid. */
const onDemand: ReadonlyMap<string, () => Promise<Transport>> = new Map([['shm', loadSharedMemory]]);

/** Longer than one letter: `C:\x` is a path. */
const SCHEME = /^([a-z][a-z0-9+.-]+):/i;

/** The transport of `address`. Throws TypeError when it is no address; rejects with ERR_IPC_NATIVE_UNAVAILABLE when its package is missing. */
export function transportOf(address: unknown): MaybePromise<Transport> {
  if (typeof address !== 'string' || address === '') {
    throw new TypeError(`Expected \`address\` to be a string such as "unix:/path", got ${typeof address}`);
  }
  const scheme = SCHEME.exec(address)?.[1]?.toLowerCase() ?? '';
  return onDemand.get(scheme)?.() ?? sockets;
}

/** The part of `@spanwire/ipc-shm-native` that is needed here. */
interface SharedMemory {
  createShmServer(name: string, options?: ServerOptions): IpcServer;
  createShmClient(name: string, options?: ClientOptions): IpcClient;
}

async function loadSharedMemory(): Promise<Transport> {
  // Not a literal: the package is optional, and the compiler must not need it.
  const name: string = '@spanwire/ipc-shm-native';
  let loaded: Partial<SharedMemory>;
  try {
    loaded = (await import(name)) as Partial<SharedMemory>;
  } catch (error) {
    if (error instanceof IpcError) throw error;
    throw new IpcError(
      'ERR_IPC_NATIVE_UNAVAILABLE',
      `Addresses that begin with "shm:" need the package ${name}, and it could not be loaded: ${reasonOf(error)}`,
      { cause: error },
    );
  }
  const { createShmServer, createShmClient } = loaded;
  if (createShmServer === undefined || createShmClient === undefined) {
    throw new IpcError(
      'ERR_IPC_NATIVE_UNAVAILABLE',
      `Expected ${name} to have createShmServer and createShmClient, got another version of it`,
    );
  }
  return {
    createServer: (address, options) => createShmServer(withoutScheme(address), options),
    createClient: (address, options) => createShmClient(withoutScheme(address), options),
  };
}

function withoutScheme(address: string): string {
  return address.slice(address.indexOf(':') + 1);
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? (error.message.split('\n')[0] ?? '') : String(error);
}
