/** Accepts channels on one address. */
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { setImmediate, setTimeout } from 'node:timers/promises';
import { IpcError, type Channel, type Listener, type ServerContext } from '@spanwire/ipc-core';
import { netOptions, tcpText, type SocketAddress } from './address.ts';
import { HIGH_WATER_MARK } from './batch-writer.ts';
import { ServerHandshake, type ServerHandshakeHost } from './server-handshake.ts';
import { bindSocketFile, expectPrivatePathFits, type SocketFile } from './socket-file.ts';
import { errnoOf, systemError } from './system-errors.ts';
import { requestTakeover } from './takeover.ts';

/** The kernel caps it at net.core.somaxconn. */
const BACKLOG = 4096;
/** Connections that may say nothing yet, beyond one for every client. */
const MAX_STRANGERS = 512;
/** Of all that `accept` can say, only these mean that the listening socket is of no use. */
const FATAL: ReadonlySet<string> = new Set(['EBADF', 'EINVAL', 'ENOTSOCK', 'EOPNOTSUPP', 'EFAULT']);

/** The {@link Listener} of sockets; also a building block of its own. */
export class SocketListener implements Listener {
  admit: (() => IpcError | undefined) | undefined;
  onChannel: ((channel: Channel) => void) | undefined;
  onTakeover: (() => void) | undefined;
  onError: ((error: Error) => void) | undefined;
  readonly #context: ServerContext;
  readonly #address: SocketAddress;
  readonly #server: Server;
  readonly #handshakes: Set<ServerHandshake> = new Set();
  readonly #host: ServerHandshakeHost;
  #file: SocketFile | undefined;
  #used = false;
  #starting: Promise<void> = Promise.resolve();
  #closing: Promise<void> | undefined;
  #isRef = true;
  #accepted = 0;

  constructor(address: SocketAddress, context: ServerContext) {
    if (address.kind === 'unix') expectPrivatePathFits(address.path);
    this.#address = address;
    this.#context = context;
    // Half-open, so that a peer that has said its last word still gets what was sent to it.
    this.#server = createServer({ allowHalfOpen: true, noDelay: true, highWaterMark: HIGH_WATER_MARK }, (socket) =>
      this.#accept(socket),
    );
    this.#host = {
      context,
      admit: () => this.#admission(),
      admitTakeover: () => this.#takeoverAdmission(),
      ready: (channel) => this.#ready(channel),
      takenOver: (newcomer) => void this.#leave(newcomer),
      done: (handshake) => this.#handshakes.delete(handshake),
    };
  }

  /** The address as it is bound: `tcp:host:0` tells its real port once it listens. */
  get address(): string {
    const bound = this.#address.kind === 'tcp' ? (this.#server.address() as AddressInfo | null) : null;
    return bound === null ? this.#address.text : tcpText(bound.address, bound.port);
  }

  listen(options: { takeover: boolean }): Promise<void> {
    if (this.#used) {
      return Promise.reject(new IpcError('ERR_IPC_CLOSED', 'Expected a listener that was not used, got one that was'));
    }
    this.#used = true;
    this.#starting = this.#listen(options.takeover);
    return this.#starting;
  }

  close(): Promise<void> {
    return (this.#closing ??= this.#close());
  }

  ref(): void {
    this.#isRef = true;
    this.#server.ref();
    for (const handshake of this.#handshakes) handshake.ref();
  }

  unref(): void {
    this.#isRef = false;
    this.#server.unref();
    for (const handshake of this.#handshakes) handshake.unref();
  }

  async #listen(takeover: boolean): Promise<void> {
    const address = this.#address;
    try {
      if (address.kind === 'unix') {
        netOptions(address);
        const { handshakeTimeoutMs: timeoutMs } = this.#context.settings;
        this.#file = await bindSocketFile(address.path, {
          timeoutMs,
          listenAt: (path) => this.#bind({ path }),
          takeOver: takeover ? () => requestTakeover(address, this.#context.hello, timeoutMs) : undefined,
        });
      } else if (takeover) {
        throw new IpcError('ERR_IPC_UNSUPPORTED', `Expected a Unix address to take over, got ${address.text}`);
      } else {
        await this.#bind(netOptions(address));
      }
    } catch (error) {
      this.#server.close();
      // Whoever held the address may leave: it can be tried again.
      this.#used = false;
      if (errnoOf(error) === 'EADDRINUSE') {
        throw new IpcError('ERR_IPC_ADDRESS_IN_USE', `Another server listens on ${address.text}`, { cause: error });
      }
      throw systemError(`Listening on ${address.text} failed`, error);
    }
    this.#server.on('error', (error) => this.#acceptFailed(error));
  }

  #bind(where: { path: string } | { host: string; port: number }): Promise<void> {
    const server = this.#server;
    return new Promise((resolve, reject) => {
      server.once('error', reject);
      // Exclusive: workers of node:cluster would else share one socket, which their primary binds.
      server.listen({ ...where, backlog: BACKLOG, exclusive: true }, () => {
        server.off('error', reject);
        resolve();
      });
    });
  }

  #accept(socket: Socket): void {
    this.#accepted++;
    // Those who say nothing are not clients yet, and `admit` does not know of them.
    if (this.#handshakes.size >= this.#context.settings.maxClients + MAX_STRANGERS) {
      socket.on('error', () => {});
      socket.destroy();
      return;
    }
    const handshake = new ServerHandshake(socket, this.#host);
    this.#handshakes.add(handshake);
    if (!this.#isRef) handshake.unref();
  }

  #admission(): IpcError | undefined {
    if (this.#closing !== undefined) return new IpcError('ERR_IPC_REFUSED', 'The server is shutting down');
    return this.admit?.();
  }

  #takeoverAdmission(): IpcError | undefined {
    if (this.#file !== undefined) return undefined;
    return new IpcError('ERR_IPC_UNSUPPORTED', `${this.#address.text} cannot be taken over: only Unix addresses can`);
  }

  #ready(channel: Channel): void {
    if (!this.#isRef) channel.unref();
    if (this.onChannel === undefined) void channel.close('shutdown');
    else this.onChannel(channel);
  }

  /** The name is the newcomer's by now. Whoever connected before that waits in our queue and is accepted first. */
  async #leave(newcomer: Socket): Promise<void> {
    this.#file = undefined;
    let accepted: number;
    do {
      accepted = this.#accepted;
      // The first one ends this turn of the loop, the second one the next, in which what waits is accepted: all of it, or (later
      // versions of libuv) one.
      await setImmediate();
      await setImmediate();
    } while (this.#accepted > accepted);
    this.#server.close();
    newcomer.on('end', () => newcomer.destroy());
    newcomer.resume();
    newcomer.end();
    await this.#greeted();
    if (this.#closing === undefined) this.onTakeover?.();
  }

  /** Resolves when those who connected lately have greeted: they came before the takeover, and are to be told of it in order. */
  async #greeted(): Promise<void> {
    const { handshakeTimeoutMs } = this.#context.settings;
    const since = performance.now() - handshakeTimeoutMs;
    const greeting = [...this.#handshakes].filter(({ acceptedAt }) => acceptedAt > since).map(({ over }) => over);
    if (greeting.length === 0) return;
    const enough = new AbortController();
    const late = setTimeout(handshakeTimeoutMs, undefined, { ref: false, signal: enough.signal }).catch(() => {});
    await Promise.race([Promise.all(greeting), late]);
    enough.abort();
  }

  /** Out of descriptors or memory for one connection: that one is lost, and the next may find some. */
  #acceptFailed(error: Error): void {
    if (!FATAL.has(errnoOf(error) ?? '') || this.#closing !== undefined) return;
    this.onError?.(systemError(`Accepting on ${this.#address.text} failed`, error));
  }

  async #close(): Promise<void> {
    // Who greets right now comes too late; but a newcomer that has the address half taken over may finish.
    this.#abortGreetings();
    await this.#starting.catch(() => {});
    const file = this.#file;
    await file?.remove();
    this.#file = undefined;
    this.#abortGreetings();
    // Frees the address at once. The server's own 'close' event comes only after the last channel.
    this.#server.close();
  }

  #abortGreetings(): void {
    for (const handshake of this.#handshakes) if (!handshake.isTakeover) handshake.abort();
  }
}
