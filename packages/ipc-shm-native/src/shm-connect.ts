/** Opens a channel to a server: a hello each way, the server's with the memory, and a byte when it is mapped. */
import {
  decodeHello,
  encodeHello,
  errorOfRefusal,
  IpcError,
  PeerGoneError,
  TimeoutError,
  type Channel,
  type ClientContext,
  type Connect,
  type Hello,
  type PeerHello,
} from '@spanwire/ipc-core';
import { isNativeFailure } from './addon.ts';
import { checkDefaultDirectory, type Rendezvous } from './address.ts';
import { errnoName, toIpcError, translating } from './failures.ts';
import { HelloBuffer } from './hello-buffer.ts';
import { makeChannel } from './make-channel.ts';
import type { ShmSettings } from './options.ts';
import { Pump, type PumpOptions, type SlotOwner } from './pump.ts';
import type { ShmChannel } from './shm-channel.ts';

/** How long to wait for a place in the queue of a server that is being flooded with connections. */
export const RETRY_MS = 5;

export interface ShmConnectOptions {
  readonly rendezvous: Rendezvous;
  readonly settings: ShmSettings;
  readonly wakesBy: PumpOptions['wakesBy'];
}

/** What a client's channels are made with. */
export function connectWith(options: ShmConnectOptions, context: ClientContext): Connect {
  return (signal) =>
    new Promise<Channel>((resolve, reject) => {
      signal.throwIfAborted();
      const { spinMicros, leaveSharedCpu } = options.settings;
      const pump = new Pump({ spinMicros, leaveSharedCpu, wakesBy: options.wakesBy, copiesSmall: true });
      // The signal lives as long as the client, which may connect many times.
      const forget = (): void => signal.removeEventListener('abort', onAbort);
      const attempt = new Attempt(
        pump,
        options,
        context,
        (channel) => {
          forget();
          resolve(channel);
        },
        (error) => {
          forget();
          reject(error);
        },
      );
      const onAbort = (): void => attempt.fail(signal.reason);
      signal.addEventListener('abort', onAbort, { once: true });
      attempt.start();
    });
}

const READY: Uint8Array = Uint8Array.of(1);

/** The client's half of a handshake. */
export class ClientHandshake {
  readonly pump: Pump;
  readonly slot: number;
  readonly #hello = new HelloBuffer();

  constructor(pump: Pump, slot: number, hello: Hello) {
    this.pump = pump;
    this.slot = slot;
    pump.hub.sendHandshake(slot, encodeHello(hello), false);
  }

  /** Reads what is there. The server's hello, once the memory is mapped; undefined: not yet. Throws {@link IpcError}. */
  read(): PeerHello | undefined {
    const { hub } = this.pump;
    const count = hub.receiveHandshake(this.slot, this.#hello.room, true);
    if (count === 0) throw new PeerGoneError('The server ended the connection during the handshake');
    if (count < 0) return undefined;
    const bytes = this.#hello.push(count);
    if (bytes === undefined) return undefined;
    const server = decodeHello(bytes);
    if (server.refusal !== undefined) throw errorOfRefusal(server.refusal);
    hub.openMemory(this.slot);
    hub.sendHandshake(this.slot, READY, false);
    return server;
  }

  /** The channel on the memory that came with `hello`. Its end is that of the pump. */
  makeChannel(hello: PeerHello, graceMs: number, copying: boolean, onWelcome: () => void): ShmChannel {
    const { pump, slot } = this;
    return makeChannel(
      {
        pump,
        slot,
        isServer: false,
        hello,
        peer: pump.hub.peer(slot),
        graceMs,
        onWelcome,
        // Later: it may be in the middle of its last batch.
        onOver: () => pump.timers.later(() => pump.close()),
      },
      copying,
    );
  }
}

/** What a client throws that got no hello in time. */
export function noHello(handshakeTimeoutMs: number): TimeoutError {
  const message = `Expected the server to answer the hello within ${handshakeTimeoutMs} ms, got nothing`;
  return new TimeoutError(message, handshakeTimeoutMs);
}

class Attempt implements SlotOwner {
  readonly #pump: Pump;
  readonly #options: ShmConnectOptions;
  readonly #context: ClientContext;
  readonly #resolve: (channel: Channel) => void;
  readonly #reject: (error: unknown) => void;
  #handshake: ClientHandshake | undefined;
  #timer: NodeJS.Timeout | undefined;
  #retry: NodeJS.Timeout | undefined;
  #over = false;

  constructor(
    pump: Pump,
    options: ShmConnectOptions,
    context: ClientContext,
    resolve: (channel: Channel) => void,
    reject: (error: unknown) => void,
  ) {
    this.#pump = pump;
    this.#options = options;
    this.#context = context;
    this.#resolve = resolve;
    this.#reject = reject;
  }

  start(): void {
    const { handshakeTimeoutMs } = this.#context.settings;
    this.#timer = setTimeout(() => this.fail(noHello(handshakeTimeoutMs)), handshakeTimeoutMs);
    this.#connect();
  }

  fail(error: unknown): void {
    if (this.#over) return;
    this.#end();
    this.#pump.close();
    this.#reject(error);
  }

  readable(): void {
    const handshake = this.#handshake;
    if (this.#over || handshake === undefined) return;
    try {
      const hello = handshake.read();
      if (hello === undefined) return;
      const { graceMs } = this.#context.settings;
      const channel = handshake.makeChannel(hello, graceMs, this.#options.settings.copying, () => {
        this.#end();
        this.#resolve(channel);
      });
      // Until it is welcome: then whoever uses the channel is told.
      channel.onClosed = (reason, error) =>
        this.fail(error ?? new PeerGoneError(`The server ended the connection during the handshake: ${reason}`));
    } catch (error) {
      this.fail(toIpcError(error, `connecting to ${this.#options.rendezvous.address}`));
    }
  }

  frame(): void {}
  controlFrame(): void {}
  endOfBatch(): void {}
  room(): void {}

  closed(): void {
    this.fail(new PeerGoneError('The server ended the connection during the handshake'));
  }

  violated(message: string): void {
    this.fail(new IpcError('ERR_IPC_PROTOCOL', message));
  }

  #connect(): void {
    const { address, path } = this.#options.rendezvous;
    const doing = `connecting to ${address} (${path})`;
    let slot: number;
    try {
      checkDefaultDirectory(this.#options.rendezvous);
      slot = this.#pump.hub.connect(path, 0);
    } catch (error) {
      if (isNativeFailure(error) && errnoName(error.errno) === 'EAGAIN') {
        this.#retry = setTimeout(() => this.#connect(), RETRY_MS);
      } else {
        this.fail(toIpcError(error, doing));
      }
      return;
    }
    try {
      this.#pump.own(slot, this);
      this.#handshake = translating(doing, () => new ClientHandshake(this.#pump, slot, this.#context.hello));
    } catch (error) {
      this.fail(error);
    }
  }

  #end(): void {
    this.#over = true;
    clearTimeout(this.#timer);
    clearTimeout(this.#retry);
  }
}
