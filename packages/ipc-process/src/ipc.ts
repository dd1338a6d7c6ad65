/** {@link createIpc}: everything together. */
import {
  expectFunction,
  helloOfClient,
  helloOfServer,
  IpcError,
  PeerGoneError,
  ReassemblyBudget,
  resolveClientOptions,
  resolveServerOptions,
  SystemError,
  type Channel,
  type ClientContext,
  type ServerContext,
} from '@spanwire/ipc-core';
import type { RpcTarget } from 'capnweb';
import { abortable } from './abortable.ts';
import { isDisabled, resolveAddress, type ResolvedAddress } from './address.ts';
import { AddressConnection } from './connected.ts';
import type { Ipc, StartResult } from './contract.ts';
import { ErrorWire } from './error-wire.ts';
import { Handles } from './handle.ts';
import { ListeningAddress, prepareFolder, type Listening } from './listening.ts';
import {
  expectSignal,
  resolveIpcOptions,
  resolveMaxConnections,
  resolveSpawnOptions,
  type ConnectOptions,
  type IpcOptions,
  type IpcSettings,
  type ListenOptions,
  type SpawnOptions,
} from './options.ts';
import { inheritedDescriptor, openInherited, ParentConnection } from './parent.ts';
import { findProgram } from './program.ts';
import type { RemoteInit } from './remote.ts';
import { Session, SESSION_HELLO, type SessionSettings } from './session.ts';
import { SpawnedConnection, type SpawnContext, type SpawnedProcess } from './spawned-process.ts';
import { shmTransport, socketTransport, type IpcTransport } from './transports.ts';

/** What a failed connection attempt says when there is nobody, or can be nobody. */
const NOBODY: ReadonlySet<string> = new Set(['ECONNREFUSED', 'ENOENT', 'ENOTDIR']);

/**
 * Makes an Ipc: what this process offers (`init`), and the ways to other processes. Nothing happens before a method is called.
 * Throws TypeError or RangeError when an option is not valid.
 *
 * @example
 * await using ipc = createIpc();
 * await using worker = await ipc.spawnProcess<WorkerInit>('worker.mjs');
 */
export function createIpc<Context = undefined>(options: IpcOptions<Context> = {}): Ipc<Context> {
  return new ProcessIpc(resolveIpcOptions(options), options.context as Context);
}

class ProcessIpc<Context> implements Ipc<Context> {
  readonly context: Context;
  readonly #settings: IpcSettings;
  readonly #transports: Readonly<Record<string, IpcTransport>>;
  readonly #session: SessionSettings;
  readonly #client: ClientContext;
  readonly #server: ServerContext;
  readonly #handles = new Handles<SpawnedConnection | AddressConnection>();
  readonly #listening = new Set<ListeningAddress>();
  readonly #closing = new AbortController();
  #parent: ParentConnection | undefined;
  #closed: Promise<void> | undefined;

  constructor(settings: IpcSettings, context: Context) {
    const { maxMessageBytes, maxReassemblyBytes, windowBytes, handshakeTimeoutMs, graceMs } = settings;
    this.context = context;
    this.#settings = settings;
    this.#transports = { unix: socketTransport, shm: shmTransport, ...settings.transports };
    const budget = new ReassemblyBudget(maxReassemblyBytes);
    const { maxQueuedBytes, overflow, warn } = settings;
    const errors = new ErrorWire(settings.errors);
    this.#session = { maxMessageBytes, maxQueuedBytes, graceMs, overflow, budget, errors, warn };
    const shared = { maxMessageBytes, maxReassemblyBytes, handshakeTimeoutMs, graceMs, hello: SESSION_HELLO };
    const client = resolveClientOptions({ ...shared, responseWindowBytes: windowBytes });
    const server = resolveServerOptions({ ...shared, windowBytes, maxClients: 65_536 });
    this.#client = { settings: client, hello: helloOfClient(client) };
    this.#server = { settings: server, hello: helloOfServer(server), budget };
  }

  async spawnProcess<Init extends object>(
    program: string | URL,
    options: SpawnOptions = {},
  ): Promise<RemoteInit<Init>> {
    this.#expectOpen();
    const resolved = resolveSpawnOptions(options);
    const command = findProgram(program, resolved.execArgv);
    const context: SpawnContext = {
      session: this.#session,
      client: this.#client,
      openBeside: resolved.transport === 'pipe' ? undefined : await this.#openBeside(resolved.transport),
    };
    const settings = { ...resolved, graceMs: this.#settings.graceMs };
    const signal = this.#orClosing(resolved.signal);
    const connection = await SpawnedConnection.start(command, settings, context, signal);
    return await this.#hold<Init>(connection);
  }

  async startSpawnedProcess(argv: readonly string[]): Promise<StartResult> {
    const descriptor = inheritedDescriptor(argv);
    if (descriptor === undefined) return { served: false, exitStatus: 1 };
    this.#expectOpen();
    const init = this.#expectInit();
    if (this.#parent !== undefined) {
      throw new TypeError('Expected startSpawnedProcess to be called once, got a second call');
    }
    const socket = openInherited(descriptor);
    this.#parent = new ParentConnection({
      init,
      session: this.#session,
      server: this.#server,
      listenOnce: (address, onChannel) => this.#listenOnce(address, onChannel),
    });
    // Whatever ends this process before serving has ended is a failure.
    const before = process.exitCode;
    process.exitCode = 1;
    const orderly = await this.#parent.serve(socket);
    if (orderly) process.exitCode = before;
    return { served: true, exitStatus: orderly ? 0 : 1 };
  }

  async connectAddress<Init extends object>(
    address: string,
    options: ConnectOptions = {},
  ): Promise<RemoteInit<Init> | null> {
    this.#expectOpen();
    expectSignal(options.signal);
    if (isDisabled(address)) return null;
    const auto = address === 'auto';
    const resolved = this.#resolve(auto ? 'unix' : address);
    let channel: Channel;
    const signal = this.#orClosing(options.signal);
    try {
      channel = await this.#connect(resolved.scheme, resolved.text, signal);
    } catch (error) {
      if (auto && isNobody(error)) return null;
      throw error;
    }
    const session = new Session(channel, this.#session, undefined);
    try {
      const stub = await abortable(session.remoteInit(), signal);
      return await this.#hold<Init>(new AddressConnection(resolved.text, session, stub));
    } catch (error) {
      await session.close();
      throw error;
    }
  }

  async listenAddress(address: string, options: ListenOptions = {}): Promise<Listening> {
    this.#expectOpen();
    const maxConnections = resolveMaxConnections(options);
    const init = this.#expectInit();
    const resolved = this.#resolve(address);
    const makeListener = await this.#transport(resolved.scheme).listen(resolved.text);
    const listener = makeListener(this.#server);
    prepareFolder(resolved);
    const bound = new ListeningAddress(resolved.text, listener, init, this.#session, maxConnections);
    await listener.listen({ takeover: false });
    if (this.#closing.signal.aborted) await bound[Symbol.asyncDispose]();
    this.#expectOpen();
    this.#listening.add(bound);
    void bound.finished.then(() => this.#listening.delete(bound));
    return bound;
  }

  async disconnectIncoming(): Promise<void> {
    await Promise.all([...this.#listening].map((listening) => listening.disconnect()));
  }

  addCleanup(proxy: object, cleanup: () => unknown): void {
    expectFunction('cleanup', cleanup);
    this.#handles.addCleanup(proxy, cleanup);
  }

  processOf(proxy: object): SpawnedProcess {
    const connection = this.#handles.connectionOf(proxy);
    if (connection instanceof SpawnedConnection) return connection;
    throw new TypeError('Expected `proxy` to be of a process that was spawned, got one that was connected to');
  }

  addressOf(proxy: object): string {
    const connection = this.#handles.connectionOf(proxy);
    if (connection instanceof AddressConnection) return connection.address;
    throw new TypeError('Expected `proxy` to be of a process that was connected to, got one that was spawned');
  }

  [Symbol.asyncDispose](): Promise<void> {
    return (this.#closed ??= this.#close());
  }

  async #close(): Promise<void> {
    this.#closing.abort(closedError());
    const grace = new AbortController();
    const timer = setTimeout(() => grace.abort(), this.#settings.graceMs);
    await Promise.all([...this.#listening].map((listening) => listening[Symbol.asyncDispose]()));
    await abortable(this.disconnectIncoming(), grace.signal).catch(() => undefined);
    clearTimeout(timer);
    await this.#parent?.close();
    await this.#handles.disposeAll();
  }

  /** The proxy of `connection`; or, when this was disposed meanwhile, the end of it. */
  async #hold<Init>(connection: SpawnedConnection | AddressConnection): Promise<RemoteInit<Init>> {
    if (this.#closing.signal.aborted) {
      await connection.disconnect();
      throw closedError();
    }
    return this.#handles.create(connection) as RemoteInit<Init>;
  }

  async #connect(scheme: string, address: string, signal: AbortSignal): Promise<Channel> {
    const makeConnect = await this.#transport(scheme).connect(address);
    return makeConnect(this.#client)(signal);
  }

  /** How a spawned process is asked for a second channel. Rejects before anything is spawned when the transport is not there. */
  async #openBeside(scheme: string): Promise<NonNullable<SpawnContext['openBeside']>> {
    const transport = this.#transport(scheme);
    const privateAddress = transport.privateAddress?.bind(transport);
    if (privateAddress === undefined) {
      throw new TypeError(`Expected \`transport\` to be "pipe" or one that has private addresses, got "${scheme}"`);
    }
    const probe = privateAddress();
    try {
      await transport.connect(probe.address);
    } finally {
      probe.release();
    }
    return async (session, signal) => {
      const own = privateAddress();
      try {
        await session.listenBeside(own.address);
        return await this.#connect(scheme, own.address, signal);
      } finally {
        own.release();
      }
    };
  }

  /** Listens on `address` for one channel. Resolves when it can be connected to; the channel comes by `onChannel`. */
  async #listenOnce(address: string, onChannel: (channel: Channel) => void): Promise<void> {
    const resolved = this.#resolve(address);
    const makeListener = await this.#transport(resolved.scheme).listen(resolved.text);
    const listener = makeListener(this.#server);
    listener.onChannel = (channel) => {
      listener.onChannel = undefined;
      void listener.close();
      onChannel(channel);
    };
    await listener.listen({ takeover: false });
    this.#closing.signal.addEventListener('abort', () => void listener.close(), { once: true });
  }

  #resolve(address: string): ResolvedAddress {
    return resolveAddress(address, this.#settings, Object.keys(this.#transports));
  }

  #transport(scheme: string): IpcTransport {
    const transport = this.#transports[scheme];
    if (transport === undefined) {
      const known = Object.keys(this.#transports).join(', ');
      throw new TypeError(`Expected a transport out of ${known}, got "${scheme}"`);
    }
    return transport;
  }

  #orClosing(signal: AbortSignal | undefined): AbortSignal {
    return signal === undefined ? this.#closing.signal : AbortSignal.any([signal, this.#closing.signal]);
  }

  #expectOpen(): void {
    if (this.#closing.signal.aborted) throw closedError();
  }

  #expectInit(): RpcTarget {
    if (this.#settings.init !== undefined) return this.#settings.init;
    throw new TypeError('Expected `init` to be given to createIpc, for other processes to get, got undefined');
  }
}

function closedError(): IpcError {
  return new IpcError('ERR_IPC_CLOSED', 'This Ipc was disposed');
}

/** Whether a connection attempt failed because nobody listens, or can listen, on the address. */
function isNobody(error: unknown): boolean {
  if (error instanceof RangeError) return true;
  if (!(error instanceof PeerGoneError || error instanceof SystemError)) return false;
  const { code } = (error.cause ?? {}) as NodeJS.ErrnoException;
  return code !== undefined && NOBODY.has(code);
}
