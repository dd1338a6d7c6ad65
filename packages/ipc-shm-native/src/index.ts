/** Spanwire over shared memory: lock-free rings, on the event loop and in a blocking form. */
import {
  createClient,
  createServer,
  type IpcClient,
  type IpcServer,
  type MakeConnect,
  type MakeListener,
} from '@spanwire/ipc-core';
import { parseAddress } from './address.ts';
import {
  barretenbergConnect,
  barretenbergListener,
  createBarretenbergClient,
  createBarretenbergServer,
  createBarretenbergSyncClient,
} from './barretenberg/index.ts';
import type {
  BarretenbergClientOptions,
  BarretenbergServerOptions,
  BarretenbergSyncClientOptions,
} from './barretenberg/options.ts';
import { ringSizes, shmSettings, type ShmClientOptions, type ShmServerOptions } from './options.ts';
import { wakesBy } from './runtime.ts';
import { connectWith } from './shm-connect.ts';
import { ShmListener } from './shm-listener.ts';
import type { ShmSyncClient } from './sync.ts';

export type {
  BarretenbergClientOptions,
  BarretenbergServerOptions,
  BarretenbergSyncClientOptions,
} from './barretenberg/options.ts';
export { isShmAvailable } from './runtime.ts';
export type { Authorize, ShmClientOptions, ShmServerOptions } from './options.ts';
export type { ShmSyncClient, SyncCallOptions } from './sync.ts';

/**
 * Makes a server on shared memory. `name` is `shm:name` or `name` (a socket in the user's own directory), or `shm:/absolute/socket/path`.
 *
 * Throws TypeError or RangeError on bad options, ERR_IPC_NATIVE_UNAVAILABLE without the addon; `listen()` may reject with
 * ERR_IPC_ADDRESS_IN_USE, ERR_IPC_UNAUTHORIZED, ERR_IPC_UNSUPPORTED (not Linux) or ERR_IPC_SYSTEM.
 *
 * @example
 * const server = createShmServer('shm:checksums');
 * server.respond((_clientId, request) => sha256(request));
 * await server.listen();
 */
export function createShmServer(name: string, options: ShmServerOptions | BarretenbergServerOptions = {}): IpcServer {
  if (options.layout === 'barretenberg') return createBarretenbergServer(name, options);
  const rings = ringSizes(options);
  return createServer(shmListener(name, options), {
    ...options,
    windowBytes: rings.request,
    responseWindowBytes: rings.response,
  });
}

/** Makes a client of {@link createShmServer}. */
export function createShmClient(name: string, options: ShmClientOptions | BarretenbergClientOptions = {}): IpcClient {
  if (options.layout === 'barretenberg') return createBarretenbergClient(name, options);
  return createClient(shmConnect(name, options), options);
}

/**
 * Makes a client whose calls block, and connects it. Blocks until the server is ready, `handshakeTimeoutMs` at most.
 *
 * Throws TypeError or RangeError on bad options, ERR_IPC_PEER_GONE where there is no server, ERR_IPC_OVERLOADED where it has a client
 * already, ERR_IPC_TIMEOUT, ERR_IPC_UNSUPPORTED (not Linux), ERR_IPC_NATIVE_UNAVAILABLE without the addon.
 *
 * @example
 * using client = createShmSyncClient('shm:bb', { layout: 'barretenberg' });
 * const answer = client.call(pack([['Blake2s', { data }]]), { timeoutMs: 1000 });
 */
export function createShmSyncClient(name: string, options: BarretenbergSyncClientOptions): ShmSyncClient {
  return createBarretenbergSyncClient(name, options);
}

/** The listener that servers on `name` are made of, for other protocols on its channels. */
export function shmListener(name: string, options: ShmServerOptions | BarretenbergServerOptions = {}): MakeListener {
  if (options.layout === 'barretenberg') return barretenbergListener(name, options);
  const rendezvous = parseAddress(name, options.directory);
  const settings = shmSettings(options);
  const rings = ringSizes(options);
  const { authorize, failReserve = false } = options;
  return (context) =>
    new ShmListener({ rendezvous, settings, rings, authorize, failReserve, wakesBy: wakesBy() }, context);
}

/** How clients of `name` connect, for other protocols on the channel. */
export function shmConnect(name: string, options: ShmClientOptions | BarretenbergClientOptions = {}): MakeConnect {
  if (options.layout === 'barretenberg') return barretenbergConnect(name, options);
  const rendezvous = parseAddress(name, options.directory);
  const settings = shmSettings(options);
  return (context) => connectWith({ rendezvous, settings, wakesBy: wakesBy() }, context);
}
