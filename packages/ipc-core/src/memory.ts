/**
 * The transport inside one process: server and client exchange frames by copy, with the same windows as between processes. For tests,
 * examples, and programs that may be split later.
 */
import { copyOf } from './bytes.ts';
import type { Channel, Connect, Frame, Lane, Listener } from './channel.ts';
import { createClient } from './client.ts';
import type { DisconnectReason, IpcClient, IpcServer, PeerInfo } from './contract.ts';
import { IpcError, PeerGoneError, type IpcErrorCode } from './errors.ts';
import { chargeOf, HEADER_BYTES } from './frame.ts';
import type { Hello, PeerHello } from './hello.ts';
import { PROTOCOL_VERSION } from './hello.ts';
import type { ClientOptions, ServerOptions } from './options.ts';
import { show } from './options.ts';
import { createServer } from './server.ts';
import type { ClientContext, MakeConnect, ServerContext } from './transport.ts';
import { ReceiveWindow, SendWindow } from './window.ts';

/** Frames per `onFrames`. */
const BATCH = 256;
/** Batches in microtasks before the event loop gets a turn: two sides that answer each other would keep it for ever. */
const BATCHES_PER_TURN = 32;

export type MemoryClientOptions = ClientOptions;

const listeners = new Map<string, MemoryListener>();

/**
 * A server inside this process, under a name.
 *
 * @example
 * await using server = createMemoryServer('echo');
 * await server.listen();
 * server.respond((_clientId, request) => request);
 */
export function createMemoryServer(name: string, options?: ServerOptions): IpcServer {
  expectName(name);
  return createServer((context) => new MemoryListener(name, context), options);
}

/** A client of {@link createMemoryServer} in the same process. */
export function createMemoryClient(name: string, options?: MemoryClientOptions): IpcClient {
  expectName(name);
  return createClient(memoryConnect(name), options);
}

/** How channels are opened, without a client on top: for protocols of your own. */
export function memoryConnect(name: string): MakeConnect {
  expectName(name);
  return (context) => connectTo(name, context);
}

function expectName(name: unknown): void {
  if (typeof name !== 'string' || name === '') {
    throw new TypeError(`Expected \`name\` to be a string that is not empty, got ${show(name)}`);
  }
}

class MemoryListener implements Listener {
  admit: Listener['admit'];
  onChannel: Listener['onChannel'];
  onTakeover: Listener['onTakeover'];
  onError: Listener['onError'];
  readonly context: ServerContext;
  readonly #name: string;

  constructor(name: string, context: ServerContext) {
    this.#name = name;
    this.context = context;
  }

  listen(options: { takeover: boolean }): Promise<void> {
    if (options.takeover) return refuse('ERR_IPC_UNSUPPORTED', 'The memory transport has no takeover');
    if (listeners.has(this.#name)) {
      return refuse('ERR_IPC_ADDRESS_IN_USE', `Another server listens on memory:${this.#name}`);
    }
    listeners.set(this.#name, this);
    return Promise.resolve();
  }

  close(): Promise<void> {
    if (listeners.get(this.#name) === this) listeners.delete(this.#name);
    return Promise.resolve();
  }

  // Nothing here keeps a process alive: without other work, no client can ever come.
  ref(): void {}
  unref(): void {}
}

function connectTo(name: string, context: ClientContext): Connect {
  return async () => {
    // As between processes, a connection takes a turn.
    await Promise.resolve();
    const listener = listeners.get(name);
    if (listener === undefined) throw new PeerGoneError(`Nobody listens on memory:${name}`);
    const refusal = listener.admit?.();
    if (refusal !== undefined) {
      throw new IpcError(refusal.code, `The server refused the connection: ${refusal.message}`);
    }
    const near = new MemoryChannel(context.hello, listener.context.hello);
    const far = new MemoryChannel(listener.context.hello, context.hello);
    near.pairWith(far);
    far.pairWith(near);
    listener.onChannel?.(far);
    return near;
  };
}

class MemoryFrame implements Frame {
  readonly kind: number;
  readonly id: number;
  readonly flags: number;
  readonly payload: Uint8Array<ArrayBuffer>;
  readonly owned = true;
  readonly lane: Lane;
  #receiver: MemoryChannel | undefined;

  constructor(lane: Lane, kind: number, id: number, flags: number, payload: Uint8Array<ArrayBuffer>) {
    this.lane = lane;
    this.kind = kind;
    this.id = id;
    this.flags = flags;
    this.payload = payload;
  }

  /** From now on its release gives the window of `receiver` back. */
  receivedBy(receiver: MemoryChannel): void {
    this.#receiver = receiver;
  }

  release(): void {
    const receiver = this.#receiver;
    this.#receiver = undefined;
    receiver?.onReleased(chargeOf(this.payload.length));
  }
}

class MemoryChannel implements Channel {
  readonly framing = 'spanwire';
  readonly peer: PeerInfo = { uid: process.getuid?.() ?? -1, pid: process.pid };
  readonly hello: PeerHello;
  readonly capacityBytes: number;
  readonly midFrame = false;
  onRoom: Channel['onRoom'];
  onClosed: Channel['onClosed'];
  #onFrames: Channel['onFrames'];
  readonly #sendWindow: SendWindow;
  readonly #receiveWindow: ReceiveWindow;
  #peer: MemoryChannel | undefined;
  #inbox: MemoryFrame[] = [];
  #scheduled = false;
  #settling = false;
  #streak = 0;
  #wantsRoom = false;
  #closed = false;
  /** What the peer's close looks like from here, once everything before it is delivered. */
  #peerClosed: { readonly reason: DisconnectReason; readonly error: Error | undefined } | undefined;

  constructor(own: Hello, peer: Hello) {
    this.hello = { ...peer, version: PROTOCOL_VERSION };
    this.capacityBytes = peer.windowBytes - HEADER_BYTES;
    this.#sendWindow = new SendWindow(peer.windowBytes);
    this.#receiveWindow = new ReceiveWindow(own.windowBytes, (bytes) => this.#peer?.onCredit(bytes));
  }

  pairWith(peer: MemoryChannel): void {
    this.#peer = peer;
  }

  get onFrames(): Channel['onFrames'] {
    return this.#onFrames;
  }

  set onFrames(value: Channel['onFrames']) {
    this.#onFrames = value;
    if (this.#inbox.length > 0 || this.#peerClosed !== undefined) this.#schedule();
  }

  trySend(lane: Lane, kind: number, id: number, flags: number, payload: Uint8Array): boolean {
    const peer = this.#peer;
    if (this.#closed || peer === undefined || peer.#closed) return false;
    if (lane === 'data' && !this.#sendWindow.tryTake(chargeOf(payload.length))) {
      this.#wantsRoom = true;
      return false;
    }
    peer.#inbox.push(new MemoryFrame(lane, kind, id, flags, copyOf(payload)));
    peer.#schedule();
    return true;
  }

  onCredit(bytes: number): void {
    this.#sendWindow.give(bytes);
    if (this.#wantsRoom) this.#schedule();
  }

  onReleased(charge: number): void {
    this.#receiveWindow.release(charge);
    if (this.#settling) return;
    this.#settling = true;
    // The sender may wait for just these bytes. Once per burst of releases: small credit for each would double the traffic.
    queueMicrotask(() => {
      this.#settling = false;
      this.#receiveWindow.settle();
    });
  }

  poll(): void {
    this.#deliver();
  }

  close(reason: DisconnectReason = 'closed'): Promise<void> {
    if (this.#closed) return Promise.resolve();
    const orderly = reason === 'closed' || reason === 'shutdown';
    const peer = this.#peer;
    if (peer !== undefined && !peer.#closed) {
      peer.#peerClosed = orderly
        ? { reason: 'closed', error: undefined }
        : { reason: 'gone', error: new PeerGoneError(`The other side dropped the connection: ${reason}`) };
      peer.#schedule();
    }
    this.#end(reason, undefined);
    return Promise.resolve();
  }

  // It has no handles of its own.
  ref(): void {}
  unref(): void {}

  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    if (++this.#streak < BATCHES_PER_TURN) {
      queueMicrotask(() => this.#deliver());
    } else {
      this.#streak = 0;
      setImmediate(() => this.#deliver());
    }
  }

  #deliver(): void {
    this.#scheduled = false;
    if (this.#closed) return;
    if (this.#wantsRoom) {
      this.#wantsRoom = false;
      this.onRoom?.();
    }
    if (this.#onFrames === undefined || this.#closed) return;
    const batch = this.#inbox.splice(0, BATCH);
    for (const frame of batch) {
      if (frame.lane === 'control') continue;
      this.#receiveWindow.take(chargeOf(frame.payload.length));
      frame.receivedBy(this);
    }
    if (batch.length > 0) this.#onFrames(batch);
    if (this.#closed) return;
    if (this.#inbox.length > 0) this.#schedule();
    else if (this.#peerClosed !== undefined) this.#end(this.#peerClosed.reason, this.#peerClosed.error);
  }

  #end(reason: DisconnectReason, error: Error | undefined): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#inbox = [];
    const { onClosed } = this;
    onClosed?.(reason, error);
  }
}

function refuse(code: IpcErrorCode, message: string): Promise<never> {
  return Promise.reject(new IpcError(code, message));
}
