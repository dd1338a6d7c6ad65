/** Accepts clients on one address: each gets memory of its own, over the socket that is its doorbell from then on. */
import { createConnection } from 'node:net';
import {
  decodeHello,
  encodeHello,
  IpcError,
  ProtocolError,
  refusalHello,
  SystemError,
  type Channel,
  type Hello,
  type Listener,
  type PeerInfo,
  type ServerContext,
  type Timer,
  type Timers,
} from '@spanwire/ipc-core';
import { addon, isNativeFailure } from './addon.ts';
import { prepareDirectory, type Rendezvous } from './address.ts';
import { errnoName, toIpcError, translating } from './failures.ts';
import { HelloBuffer } from './hello-buffer.ts';
import { makeChannel } from './make-channel.ts';
import { NEVER } from './never.ts';
import type { Authorize, RingSizes, ShmSettings } from './options.ts';
import { Pump, type AcceptingOwner, type PumpOptions, type SlotOwner } from './pump.ts';
import { CONFIRMATION, requestTakeover } from './takeover.ts';

const SOCKET_MODE = 0o600;
/** Connections without memory yet: nobody needs so many for long. */
const MAX_STRANGERS = 512;
/** How long to wait before looking again whether somebody who is just claiming the address is done. */
const CLAIM_RETRY_MS = 5;

export interface ShmListenerOptions {
  readonly rendezvous: Rendezvous;
  readonly settings: ShmSettings;
  readonly rings: RingSizes;
  readonly authorize: Authorize | undefined;
  readonly failReserve: boolean;
  readonly wakesBy: PumpOptions['wakesBy'];
}

export class ShmListener implements Listener, AcceptingOwner {
  admit: Listener['admit'];
  onChannel: Listener['onChannel'];
  onTakeover: Listener['onTakeover'];
  onError: Listener['onError'];
  readonly pump: Pump;
  readonly context: ServerContext;
  readonly #options: ShmListenerOptions;
  /** Somebody asked it to listen. */
  used = false;
  /** Why it accepts no more. */
  failure: Error | undefined;
  #listening = false;
  #closed = false;
  #channels = 0;
  /** Slots in use, those in their handshake included: the pump ends with the last of them. */
  #slots = 0;
  /** Slots with memory, also those that are not clients yet, because they did not say that they are ready. */
  #withMemory = 0;

  constructor(options: ShmListenerOptions, context: ServerContext) {
    this.#options = options;
    this.context = context;
    const { spinMicros, leaveSharedCpu } = options.settings;
    this.pump = new Pump({ spinMicros, leaveSharedCpu, wakesBy: options.wakesBy, copiesSmall: false });
    this.pump.accepting = this;
    // A request may come at any time: after one, the next is worth some spinning.
    this.pump.expect(1);
  }

  get timers(): Timers {
    return this.pump.timers;
  }

  async listen({ takeover }: { takeover: boolean }): Promise<void> {
    this.used = true;
    if (this.#listening) return;
    const { rendezvous } = this.#options;
    const doing = `listening on ${rendezvous.address} (${rendezvous.path})`;
    if (rendezvous.directory !== undefined) prepareDirectory(rendezvous.directory);
    await this.#bind(doing);
    try {
      if (takeover) await this.#takeOver(doing);
      else translating(doing, () => this.pump.hub.publish(false));
    } catch (error) {
      if (!this.#closed) this.pump.hub.stopListening();
      throw error;
    }
    this.#listening = true;
    if (this.#closed) this.pump.hub.stopListening();
  }

  /** The same for a thread that blocks from now on. */
  listenSync(): void {
    const { rendezvous } = this.#options;
    const { hub } = this.pump;
    const doing = `listening on ${rendezvous.address} (${rendezvous.path})`;
    if (rendezvous.directory !== undefined) prepareDirectory(rendezvous.directory);
    const untilMs = performance.now() + this.context.settings.handshakeTimeoutMs;
    while (!this.#tryBind(rendezvous.path, performance.now() < untilMs, doing)) {
      Atomics.wait(NEVER, 0, 0, CLAIM_RETRY_MS);
    }
    translating(doing, () => hub.publish(false));
    this.#listening = true;
    this.pump.block();
  }

  /** Closed, and no client is left. Connections that never became clients do not count. */
  get over(): boolean {
    return this.#closed && this.#channels === 0;
  }

  close(): Promise<void> {
    this.#closed = true;
    if (this.#listening) this.pump.hub.stopListening();
    this.#listening = false;
    this.#endWhenEmpty();
    return Promise.resolve();
  }

  poll(): void {
    this.pump.poll();
  }

  ref(): void {
    this.pump.hub.ref();
  }

  unref(): void {
    this.pump.hub.unref();
  }

  accepted(slot: number): SlotOwner | undefined {
    if (this.#slots - this.#withMemory >= MAX_STRANGERS) return undefined;
    this.#slots++;
    return new ServerHandshake(this, slot, this.#options);
  }

  deaf(errno: number): void {
    const name = errnoName(errno);
    this.failure = new SystemError('accept', name, `Expected to accept connections, got ${name}`);
    this.onError?.(this.failure);
  }

  /** Counts one more slot with memory, or says why it may have none. */
  admitOne(): IpcError | undefined {
    const refusal = this.admit?.();
    if (refusal !== undefined) return refusal;
    const { maxClients, maxMemoryBytes } = this.context.settings;
    const { request, response } = this.#options.rings;
    const count = this.#withMemory + 1;
    if (count > maxClients || count * (request + response) > maxMemoryBytes) {
      return new IpcError('ERR_IPC_OVERLOADED', 'The server has all the clients that it may have, or is about to');
    }
    this.#withMemory = count;
    return undefined;
  }

  /** A connection became a client. */
  channelStarted(channel: Channel): void {
    this.#channels++;
    this.onChannel?.(channel);
  }

  channelEnded(): void {
    this.#channels--;
    this.slotEnded(true);
  }

  /** A slot is free again. */
  slotEnded(hadMemory: boolean): void {
    this.#slots--;
    if (hadMemory) this.#withMemory--;
    if (this.#closed) this.pump.timers.later(() => this.#endWhenEmpty());
  }

  #endWhenEmpty(): void {
    if (this.#closed && this.#slots === 0) this.pump.close();
  }

  /** Takes the lock of the address, after whoever has it. */
  async #bind(doing: string): Promise<void> {
    const { path } = this.#options.rendezvous;
    while (!this.#tryBind(path, true, doing)) {
      await lockFreed(addon().lockName(path));
      if (this.#closed) throw new IpcError('ERR_IPC_CLOSED', 'The server was closed');
    }
  }

  /** False when somebody else has the lock and there is time to wait for it. */
  #tryBind(path: string, mayWait: boolean, doing: string): boolean {
    try {
      this.pump.hub.bind(path, SOCKET_MODE);
      return true;
    } catch (error) {
      if (mayWait && isNativeFailure(error) && errnoName(error.errno) === 'EBUSY') return false;
      throw toIpcError(error, doing);
    }
  }

  async #takeOver(doing: string): Promise<void> {
    const { path } = this.#options.rendezvous;
    const { hello, settings } = this.context;
    const running = await requestTakeover(path, hello, settings.handshakeTimeoutMs);
    try {
      translating(doing, () => this.pump.hub.publish(running !== undefined));
    } catch (error) {
      running?.abandon();
      throw error;
    }
    await running?.confirm();
  }
}

/** Resolves when the holder of the lock lets go of it: a connection to it ends. */
function lockFreed(name: string): Promise<void> {
  return new Promise((resolve) => {
    const connection = createConnection(name);
    connection.once('error', () => resolve());
    connection.once('close', () => resolve());
    connection.resume();
  });
}

function isSameUser(peer: PeerInfo): boolean {
  return peer.uid === process.getuid?.() || peer.uid === 0;
}

function unauthorized(peer: PeerInfo, doing: string): IpcError {
  return new IpcError('ERR_IPC_UNAUTHORIZED', `User ${peer.uid} (process ${peer.pid}) may not ${doing}`);
}

/** One connection until its rings are in use. */
class ServerHandshake implements SlotOwner {
  readonly #listener: ShmListener;
  readonly #slot: number;
  readonly #options: ShmListenerOptions;
  readonly #timer: Timer;
  #hello: HelloBuffer | undefined = new HelloBuffer();
  #peer: PeerInfo | undefined;
  #client: ReturnType<typeof decodeHello> | undefined;
  #hasMemory = false;
  #confirmed = 0;
  #dropped = false;

  constructor(listener: ShmListener, slot: number, options: ShmListenerOptions) {
    this.#listener = listener;
    this.#slot = slot;
    this.#options = options;
    const { handshakeTimeoutMs } = listener.context.settings;
    this.#timer = listener.timers.after(handshakeTimeoutMs, () => this.#drop(), { keepsAlive: false });
  }

  readable(): void {
    try {
      if (this.#hello !== undefined) this.#readHello(this.#hello);
      else this.#readLast();
    } catch (error) {
      const failure = toIpcError(error, 'a handshake');
      if (failure instanceof IpcError && failure.code !== 'ERR_IPC_PROTOCOL') this.#refuse(failure);
      else this.#drop();
    }
  }

  frame(): void {}
  controlFrame(): void {}
  endOfBatch(): void {}
  room(): void {}

  closed(): void {
    this.#drop();
  }

  violated(): void {
    this.#drop();
  }

  #readHello(buffer: HelloBuffer): void {
    const { hub } = this.#listener.pump;
    const count = hub.receiveHandshake(this.#slot, buffer.room, false);
    if (count === 0) this.#drop();
    if (count <= 0) return;
    const bytes = buffer.push(count);
    if (bytes === undefined) return;
    this.#hello = undefined;
    const peer = hub.peer(this.#slot);
    this.#peer = peer;
    this.#authorize(peer);
    const client = decodeHello(bytes);
    this.#client = client;
    if (client.takeover === true) {
      // Whoever else is let in may talk to this server, and not replace it.
      if (!isSameUser(peer)) throw unauthorized(peer, 'take this address over');
      hub.sendHandshake(this.#slot, encodeHello(this.#listener.context.hello), false);
      return;
    }
    const refusal = this.#listener.admitOne();
    if (refusal !== undefined) throw refusal;
    this.#hasMemory = true;
    const { request, response } = this.#options.rings;
    hub.createMemory(this.#slot, request, response, this.#options.failReserve);
    hub.sendHandshake(this.#slot, encodeHello(this.#listener.context.hello), true);
  }

  #authorize(peer: PeerInfo): void {
    const { authorize } = this.#options;
    const allowed = authorize === undefined ? isSameUser(peer) : authorize(peer);
    if (!allowed) throw unauthorized(peer, 'connect');
  }

  #readLast(): void {
    const { pump, context } = this.#listener;
    const bytes = new Uint8Array(CONFIRMATION.length + 1);
    const count = pump.hub.receiveHandshake(this.#slot, bytes, false);
    if (count === 0) this.#drop();
    const client = this.#client;
    if (count <= 0 || client === undefined) return;
    if (client.takeover === true) {
      this.#readConfirmation(bytes.subarray(0, count));
      return;
    }
    if (count !== 1) throw new ProtocolError(`Expected one byte when the client is ready, got ${count}`);
    this.#timer.cancel();
    const channel = makeChannel(
      {
        pump,
        slot: this.#slot,
        isServer: true,
        hello: client,
        peer: this.#peer,
        graceMs: context.settings.graceMs,
        onOver: () => this.#listener.channelEnded(),
      },
      this.#options.settings.copying,
    );
    this.#listener.channelStarted(channel);
    channel.welcome();
  }

  #readConfirmation(bytes: Uint8Array): void {
    for (const byte of bytes) {
      if (byte !== CONFIRMATION[this.#confirmed++]) {
        throw new ProtocolError('Expected the confirmation of a takeover, got something else');
      }
    }
    if (this.#confirmed < CONFIRMATION.length) return;
    const listener = this.#listener;
    // Outside of this batch, since it takes another: what is in the backlog connected to us, and is accepted before the socket closes.
    listener.timers.soon(() => {
      listener.poll();
      this.#drop();
      void listener.close();
      listener.onTakeover?.();
    });
  }

  #refuse(error: IpcError): void {
    const hello: Hello = refusalHello(error);
    try {
      this.#listener.pump.hub.sendHandshake(this.#slot, encodeHello(hello), false);
    } catch {
      // A peer that is gone cannot be told why it was refused.
    }
    this.#drop();
  }

  #drop(): void {
    // Once: the slot may be somebody else's by now.
    if (this.#dropped) return;
    this.#dropped = true;
    this.#timer.cancel();
    const { pump } = this.#listener;
    pump.own(this.#slot, undefined);
    pump.hub.remove(this.#slot);
    this.#listener.slotEnded(this.#hasMemory);
  }
}
