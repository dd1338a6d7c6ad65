/** Connects a client whose thread blocks. */
import { PeerGoneError, ProtocolError, type Hello } from '@spanwire/ipc-core';
import { isNativeFailure } from './addon.ts';
import { checkDefaultDirectory, type Rendezvous } from './address.ts';
import { errnoName, toIpcError, translating } from './failures.ts';
import type { ShmSettings } from './options.ts';
import { Pump, type SlotOwner } from './pump.ts';
import type { ShmChannel } from './shm-channel.ts';
import { ClientHandshake, noHello, RETRY_MS } from './shm-connect.ts';
import { NEVER } from './never.ts';

export interface SyncConnectOptions {
  readonly rendezvous: Rendezvous;
  readonly settings: ShmSettings;
  readonly hello: Hello;
  readonly handshakeTimeoutMs: number;
}

export interface SyncConnected {
  readonly pump: Pump;
  readonly channel: ShmChannel;
}

/** Blocks until the server has taken the client in, `handshakeTimeoutMs` at most. Throws {@link IpcError}. */
export function connectSync(options: SyncConnectOptions): SyncConnected {
  const { spinMicros, leaveSharedCpu } = options.settings;
  const pump = new Pump({ spinMicros, leaveSharedCpu, wakesBy: 'nothing', copiesSmall: true });
  pump.block();
  try {
    return new Attempt(pump, options).finish();
  } catch (error) {
    pump.close();
    throw error;
  }
}

class Attempt implements SlotOwner {
  readonly #pump: Pump;
  readonly #options: SyncConnectOptions;
  readonly #deadlineMs: number;
  #handshake: ClientHandshake | undefined;
  #channel: ShmChannel | undefined;
  #failure: { readonly error: unknown } | undefined;
  #welcome = false;

  constructor(pump: Pump, options: SyncConnectOptions) {
    this.#pump = pump;
    this.#options = options;
    this.#deadlineMs = performance.now() + options.handshakeTimeoutMs;
  }

  finish(): SyncConnected {
    const pump = this.#pump;
    const slot = this.#connect();
    pump.own(slot, this);
    const doing = `connecting to ${this.#options.rendezvous.address}`;
    this.#handshake = translating(doing, () => new ClientHandshake(pump, slot, this.#options.hello));
    for (;;) {
      pump.wait(this.#remainingMs());
      if (this.#failure !== undefined) throw this.#failure.error;
      if (this.#welcome && this.#channel !== undefined) return { pump, channel: this.#channel };
    }
  }

  /** The slot. Waits for a place in the queue of a server that is being flooded with connections. */
  #connect(): number {
    const { rendezvous } = this.#options;
    checkDefaultDirectory(rendezvous);
    for (;;) {
      try {
        return this.#pump.hub.connect(rendezvous.path, 0);
      } catch (error) {
        if (!isNativeFailure(error) || errnoName(error.errno) !== 'EAGAIN') {
          throw toIpcError(error, `connecting to ${rendezvous.address} (${rendezvous.path})`);
        }
      }
      Atomics.wait(NEVER, 0, 0, Math.min(RETRY_MS, this.#remainingMs()));
    }
  }

  /** Throws when there is nothing left. */
  #remainingMs(): number {
    const remainingMs = this.#deadlineMs - performance.now();
    if (remainingMs > 0) return Math.ceil(remainingMs);
    throw noHello(this.#options.handshakeTimeoutMs);
  }

  readable(): void {
    const handshake = this.#handshake;
    if (handshake === undefined || this.#failure !== undefined) return;
    try {
      const hello = handshake.read();
      if (hello === undefined) return;
      const channel = handshake.makeChannel(hello, 0, this.#options.settings.copying, () => {
        this.#welcome = true;
      });
      channel.onClosed = (reason, error) => this.#fail(error ?? goneWith(reason));
      this.#channel = channel;
    } catch (error) {
      this.#fail(toIpcError(error, `connecting to ${this.#options.rendezvous.address}`));
    }
  }

  frame(): void {}
  controlFrame(): void {}
  endOfBatch(): void {}
  room(): void {}

  closed(): void {
    this.#fail(goneWith('gone'));
  }

  violated(message: string): void {
    this.#fail(new ProtocolError(message));
  }

  #fail(error: unknown): void {
    this.#failure ??= { error };
  }
}

function goneWith(reason: string): PeerGoneError {
  return new PeerGoneError(`The server ended the connection during the handshake: ${reason}`);
}
