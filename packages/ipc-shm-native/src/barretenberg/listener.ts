/** The server's side of a name: one client at a time, for which the shared memory is always ready. */
import { IpcError, KIND_REQUEST, type Listener, type PeerInfo, type ServerContext } from '@spanwire/ipc-core';
import { toIpcError } from '../failures.ts';
import { wakesBy } from '../runtime.ts';
import { closeAtExit, forgetAtExit } from './at-exit.ts';
import { BarretenbergChannel } from './channel.ts';
import { errnoOf } from './errors.ts';
import { Inlet } from './inlet.ts';
import type { BarretenbergSettings } from './options.ts';
import { createWire, EVENT_LEFT, type Wire } from './wire.ts';

export interface BarretenbergListenerOptions {
  readonly name: string;
  readonly requestRingBytes: number;
  readonly responseRingBytes: number;
  readonly settings: BarretenbergSettings;
}

export class BarretenbergListener implements Listener {
  admit: Listener['admit'];
  onChannel: Listener['onChannel'];
  onTakeover: Listener['onTakeover'];
  onError: Listener['onError'];
  readonly #options: BarretenbergListenerOptions;
  readonly #context: ServerContext;
  #wire: Wire | undefined;
  #inlet: Inlet | undefined;
  #channel: BarretenbergChannel | undefined;
  #referenced = true;
  #closed = false;

  constructor(options: BarretenbergListenerOptions, context: ServerContext) {
    this.#options = options;
    this.#context = context;
  }

  listen({ takeover }: { takeover: boolean }): Promise<void> {
    // As an async function would: what is wrong rejects.
    return new Promise((resolve) => {
      if (takeover) throw new IpcError('ERR_IPC_UNSUPPORTED', 'The barretenberg layout has no takeover');
      this.#open();
      resolve();
    });
  }

  poll(): void {
    if (this.#channel !== undefined) return;
    const count = this.#wire?.collect() ?? 0;
    if (count > 0 && this.#wire !== undefined) this.#onBatch(this.#wire, count);
  }

  close(): Promise<void> {
    this.#closed = true;
    if (this.#channel === undefined) this.#end();
    else this.#wire?.removeNames();
    return Promise.resolve();
  }

  ref(): void {
    this.#referenced = true;
    this.#wire?.ref();
  }

  unref(): void {
    this.#referenced = false;
    this.#wire?.unref();
  }

  #end(): void {
    const wire = this.#wire;
    this.#wire = undefined;
    if (wire === undefined) return;
    forgetAtExit(wire);
    wire.close();
  }

  #open(): void {
    const { name, requestRingBytes, responseRingBytes, settings } = this.#options;
    try {
      const wire = createWire({
        name,
        side: 'server',
        requestRingBytes,
        responseRingBytes,
        spinMicros: settings.spinMicros,
        workLimitMicros: 1000,
        wakesBy: wakesBy(),
        // What comes late from a wire that was given up is not for its successor.
        onBatch: (count) => {
          if (wire === this.#wire) this.#onBatch(wire, count);
        },
        onEvent: (event) => {
          if (wire === this.#wire) this.#onEvent(wire, event);
        },
      });
      this.#wire = wire;
      closeAtExit(wire);
      if (!this.#referenced) wire.unref();
      this.#prepare(wire);
    } catch (error) {
      throw toIpcError(error, `listening on the shared memory ${name}`);
    }
  }

  /** The wire waits for its next client. */
  #prepare(wire: Wire): void {
    const { windowBytes, maxMessageBytes } = this.#context.settings;
    this.#inlet = new Inlet(wire, { kind: KIND_REQUEST, windowBytes, maxMessageBytes, pauses: true });
    wire.kick();
  }

  /** A client shows by its first message: until then it may as well not be there. */
  #onBatch(wire: Wire, count: number): void {
    if (this.#channel === undefined) this.#accept(wire);
    this.#channel?.batch(count);
  }

  #onEvent(wire: Wire, event: number): void {
    if (this.#channel !== undefined) this.#channel.event(event);
    else this.#next(wire, event === EVENT_LEFT);
  }

  #accept(wire: Wire): void {
    const inlet = this.#inlet;
    // A refusal cannot be told in this layout: the client waits until this server is gone.
    if (inlet === undefined || this.#closed || this.admit?.() !== undefined) return;
    const channel = new BarretenbergChannel({
      wire,
      inlet,
      side: 'server',
      peer: this.#findPeer(wire),
      onOver: (byPeer) => {
        this.#channel = undefined;
        this.#next(wire, byPeer);
      },
    });
    this.#channel = channel;
    this.onChannel?.(channel);
  }

  /** Undefined where the client cannot be seen from here: its end is not noticed then. */
  #findPeer(wire: Wire): PeerInfo | undefined {
    try {
      return wire.findPeer(this.#options.settings.peerPid);
    } catch (error) {
      if (errnoOf(error) !== undefined) return undefined;
      throw error;
    }
  }

  /** Makes room for the next client: on the same memory if the last one left it clean, since somebody may have opened it already. */
  #next(wire: Wire, clientLeft: boolean): void {
    this.#inlet?.retire();
    if (!this.#closed && clientLeft && wire.reuse()) {
      this.#prepare(wire);
      return;
    }
    this.#end();
    if (this.#closed) return;
    try {
      this.#open();
    } catch (error) {
      this.onError?.(error as Error);
    }
  }
}
