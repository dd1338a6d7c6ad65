/** Spanwire over Unix sockets, Windows named pipes (untested on Windows) and TCP. No native code. */
import {
  createClient,
  createServer,
  type ClientOptions,
  type IpcClient,
  type IpcServer,
  type MakeConnect,
  type ServerContext,
  type ServerOptions,
} from '@spanwire/ipc-core';
import { parseAddress, parseClientAddress, type SocketAddress } from './address.ts';
import { openChannel, type Framing } from './client-handshake.ts';
import { expectPrivatePathFits } from './socket-file.ts';
import { SocketListener } from './socket-listener.ts';

export { acceptChannelOn, openChannelOn } from './adopt.ts';
export type { Framing } from './client-handshake.ts';
export { SocketListener } from './socket-listener.ts';

export type SocketServerOptions = ServerOptions;

export interface SocketConnectOptions {
  /**
   * `plain` speaks `u32 length` and payload, for servers that know nothing else: no streams, no one-way messages, no metadata, and
   * answers in order. Default `spanwire`.
   */
  readonly framing?: Framing | undefined;
}

export interface SocketClientOptions extends ClientOptions, SocketConnectOptions {}

export interface SocketServer extends IpcServer {
  /** The address in its normal form. `tcp:host:0` has its real port once the server listens. */
  readonly address: string;
}

/**
 * Makes a server for `address`: `unix:/path`, a path, `pipe:name`, `tcp:host:port` or `tcp:port` (on 127.0.0.1). It takes Spanwire's own
 * clients and plain ones side by side. Nothing happens before `listen()`, which may reject with ERR_IPC_ADDRESS_IN_USE, ERR_IPC_SYSTEM,
 * or ERR_IPC_UNSUPPORTED where the platform lacks the kind of address.
 *
 * Throws TypeError or RangeError when the address or an option is not valid.
 *
 * @example
 * const server = createSocketServer('unix:/run/user/1000/checksums.sock');
 * server.respond((clientId, request) => sha256(request));
 * await server.listen();
 */
export function createSocketServer(address: string, options?: SocketServerOptions): SocketServer {
  const makeListener = socketListener(address);
  const { text } = parseAddress(address);
  let listener: SocketListener | undefined;
  const server = createServer((context) => (listener = makeListener(context)), options);
  return Object.defineProperty(server, 'address', {
    enumerable: true,
    get: () => listener?.address ?? text,
  }) as SocketServer;
}

/**
 * Makes a client for the server on `address`. `connect()` rejects with ERR_IPC_PEER_GONE when nobody listens
 * there, ERR_IPC_UNAUTHORIZED without permission, ERR_IPC_TIMEOUT when no hello comes.
 *
 * Throws TypeError or RangeError when the address or an option is not valid.
 *
 * @example
 * await using client = createSocketClient('unix:/run/user/1000/checksums.sock');
 * await client.connect();
 * const digest = await client.request(bytes);
 */
export function createSocketClient(address: string, options: SocketClientOptions = {}): IpcClient {
  return createClient(socketConnect(address, options), options);
}

/** Where channels come from, without a server on top: for protocols of your own. */
export function socketListener(address: string): (context: ServerContext) => SocketListener {
  const parsed = parseAddress(address);
  if (parsed.kind === 'unix') expectPrivatePathFits(parsed.path);
  return (context) => new SocketListener(parsed, context);
}

/** How channels are opened, without a client on top: for protocols of your own. */
export function socketConnect(address: string, options: SocketConnectOptions = {}): MakeConnect {
  const parsed: SocketAddress = parseClientAddress(address);
  const framing = options.framing ?? 'spanwire';
  if (framing !== 'spanwire' && framing !== 'plain') {
    throw new TypeError(`Expected \`framing\` to be "spanwire" or "plain", got ${JSON.stringify(framing)}`);
  }
  return (context) => (signal) => openChannel(parsed, framing, context, signal);
}
