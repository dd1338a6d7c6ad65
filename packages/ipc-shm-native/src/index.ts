/** Spanwire over shared memory: lock-free rings, on the event loop and in a blocking form. */
import {
  createClient,
  createServer,
  IpcError,
  type IpcClient,
  type MakeConnect,
  type MakeListener,
  type ServerContext,
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
import {
  ringSizes,
  shmSettings,
  type ShmClientOptions,
  type ShmServerOptions,
  type ShmSyncClientOptions,
} from './options.ts';
import { runSync } from './run-sync.ts';
import { wakesBy } from './runtime.ts';
import { connectWith } from './shm-connect.ts';
import { ShmListener } from './shm-listener.ts';
import { SyncClient } from './sync-client.ts';
import type { RunSyncOptions, ShmServer, ShmSyncClient, SyncHandler } from './sync.ts';

export type {
  BarretenbergClientOptions,
  BarretenbergServerOptions,
  BarretenbergSyncClientOptions,
} from './barretenberg/options.ts';
export { isShmAvailable } from './runtime.ts';
export type { Authorize, ShmClientOptions, ShmServerOptions, ShmSyncClientOptions } from './options.ts';
export type { RunSyncOptions, ShmServer, ShmSyncClient, SyncCallOptions, SyncHandler } from './sync.ts';

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
export function createShmServer(name: string, options: ShmServerOptions | BarretenbergServerOptions = {}): ShmServer {
  if (options.layout === 'barretenberg') {
    return Object.assign(createBarretenbergServer(name, options), { runSync: runSyncUnsupported });
  }
  const rings = ringSizes(options);
  const makeListener = ownListener(name, options);
  let listener: ShmListener | undefined;
  const server = createServer((context) => (listener = makeListener(context)), {
    ...options,
    windowBytes: rings.request,
    responseWindowBytes: rings.response,
  });
  return Object.assign(server, {
    runSync(handler: SyncHandler, runOptions?: RunSyncOptions): void {
      if (listener !== undefined) runSync(server, listener, handler, runOptions);
    },
  });
}

function runSyncUnsupported(): never {
  throw new IpcError('ERR_IPC_UNSUPPORTED', 'The barretenberg layout has no runSync: expected layout "spanwire"');
}

/** Makes a client of {@link createShmServer}. */
export function createShmClient(name: string, options: ShmClientOptions | BarretenbergClientOptions = {}): IpcClient {
  if (options.layout === 'barretenberg') return createBarretenbergClient(name, options);
  return createClient(shmConnect(name, options), options);
}

/**
 * Makes a client whose calls block, and connects it. Blocks until the server has taken it in, `handshakeTimeoutMs` at most. Works in worker
 * threads too. It takes no pushes and no streams, and does not reconnect.
 *
 * Throws TypeError or RangeError on bad options, ERR_IPC_PEER_GONE where there is no server, ERR_IPC_OVERLOADED where it has all the
 * clients that it may have, ERR_IPC_UNAUTHORIZED, ERR_IPC_REFUSED (shutting down), ERR_IPC_TIMEOUT, ERR_IPC_UNSUPPORTED (not Linux),
 * ERR_IPC_NATIVE_UNAVAILABLE without the addon.
 *
 * @example
 * using client = createShmSyncClient('shm:checksums');
 * const sum = client.call(bytes, { timeoutMs: 1000 });
 */
export function createShmSyncClient(
  name: string,
  options: ShmSyncClientOptions | BarretenbergSyncClientOptions = {},
): ShmSyncClient {
  if (options.layout === 'barretenberg') return createBarretenbergSyncClient(name, options);
  return new SyncClient(parseAddress(name, options.directory), options);
}

/** The listener that servers on `name` are made of, for other protocols on its channels. */
export function shmListener(name: string, options: ShmServerOptions | BarretenbergServerOptions = {}): MakeListener {
  return options.layout === 'barretenberg' ? barretenbergListener(name, options) : ownListener(name, options);
}

function ownListener(name: string, options: ShmServerOptions): (context: ServerContext) => ShmListener {
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
