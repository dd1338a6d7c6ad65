/** The transports to choose from. An address says by its scheme which one it belongs to. */
import { join } from 'node:path';
import type { ClientOptions, IpcClient, IpcServer, ServerOptions } from '@spanwire/ipc-core';
import { createShmClient, createShmServer, isShmAvailable } from '@spanwire/ipc-shm-native';
import { createSocketClient, createSocketServer } from '@spanwire/ipc-socket';

interface Transport {
  readonly scheme: string;
  readonly createServer: (address: string, options?: ServerOptions) => IpcServer;
  readonly createClient: (address: string, options?: ClientOptions) => IpcClient;
}

const transports: Record<string, Transport> = {
  shm: { scheme: 'shm:', createServer: createShmServer, createClient: createShmClient },
  socket: { scheme: 'unix:', createServer: createSocketServer, createClient: createSocketClient },
};

/** Shared memory where it works, else sockets. */
const AUTO = 'auto';

export const transportNames: readonly string[] = [AUTO, ...Object.keys(transports)];

/** The transport that a name stands for. */
export function resolveTransport(name: string): string {
  if (name !== AUTO) return name;
  return isShmAvailable() ? 'shm' : 'socket';
}

/** An address below `folder`. */
export function addressOf(transport: string, folder: string, name: string): string {
  return `${transports[transport]?.scheme}${join(folder, name)}.sock`;
}

export function createServer(address: string, options?: ServerOptions): IpcServer {
  return transportOf(address).createServer(address, options);
}

export function createClient(address: string, options?: ClientOptions): IpcClient {
  return transportOf(address).createClient(address, options);
}

function transportOf(address: string): Transport {
  const transport = Object.values(transports).find(({ scheme }) => address.startsWith(scheme));
  if (transport === undefined) throw new TypeError(`Expected \`address\` to be of a known transport, got ${address}`);
  return transport;
}
