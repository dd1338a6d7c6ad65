/** Spanwire's transports, behind one face. Only the one that is measured gets loaded. */
import { join } from 'node:path';
import {
  createMemoryClient,
  createMemoryServer,
  type ClientOptions,
  type IpcClient,
  type IpcServer,
  type ServerOptions,
} from '@spanwire/ipc-core';
import type { ReactiveName } from '../links.ts';

export interface Transport {
  /** Whether its server lives in a process of its own. */
  readonly crossesProcesses: boolean;
  createServer(place: string, ringBytes: number, options: ServerOptions): Addressed;
  createClient(address: string, ringBytes: number, options: ClientOptions): IpcClient;
}

export interface Addressed {
  readonly server: IpcServer;
  /** Valid once the server listens. */
  readonly address: () => string;
}

const loaders: Record<ReactiveName, () => Promise<Transport>> = {
  shm,
  memory: () => Promise.resolve(memory),
  unix: () => sockets((place) => `unix:${join(place, 'spanwire.sock')}`),
  tcp: () => sockets(() => 'tcp:127.0.0.1:0'),
};

export function loadTransport(name: ReactiveName): Promise<Transport> {
  return loaders[name]();
}

const memory: Transport = {
  crossesProcesses: false,
  createServer: (place, ringBytes, options) => ({
    server: createMemoryServer(place, withWindows(ringBytes, options)),
    address: () => place,
  }),
  createClient: (address, ringBytes, options) => createMemoryClient(address, withWindows(ringBytes, options)),
};

async function shm(): Promise<Transport> {
  const { createShmClient, createShmServer } = await import('@spanwire/ipc-shm-native');
  return {
    crossesProcesses: true,
    createServer(place, ringBytes, options) {
      const address = `shm:${join(place, 'spanwire-shm.sock')}`;
      const rings = { requestRingBytes: ringBytes, responseRingBytes: ringBytes };
      return { server: createShmServer(address, { ...options, ...rings }), address: () => address };
    },
    createClient: (address, _ringBytes, options) => createShmClient(address, options),
  };
}

async function sockets(addressIn: (place: string) => string): Promise<Transport> {
  const { createSocketClient, createSocketServer } = await import('@spanwire/ipc-socket');
  return {
    crossesProcesses: true,
    createServer(place, ringBytes, options) {
      const server = createSocketServer(addressIn(place), withWindows(ringBytes, options));
      return { server, address: () => server.address };
    },
    createClient: (address, ringBytes, options) => createSocketClient(address, withWindows(ringBytes, options)),
  };
}

/** What a ring is in shared memory, a window is elsewhere. */
function withWindows<Options extends ServerOptions | ClientOptions>(bytes: number, options: Options): Options {
  return { ...options, windowBytes: bytes, responseWindowBytes: bytes };
}
