/** How a client finds the server behind a name, and makes sure that nothing of an earlier client is under way. */
import { TimeoutError, type PeerInfo } from '@spanwire/ipc-core';
import { errnoOf, serverGone, toConnectError } from './errors.ts';
import type { BarretenbergSettings } from './options.ts';
import { createWire, type Wire, type WireOptions } from './wire.ts';

/** How often to look whether the server is ready. */
export const LOOK_AGAIN_MS = 2;

export interface Attached {
  readonly wire: Wire;
  readonly peer: PeerInfo;
}

export type AttachOptions = Pick<WireOptions, 'name' | 'wakesBy' | 'onBatch' | 'onEvent'>;

/** One try. Undefined: the server is there, but not ready. Throws {@link IpcError}. */
export class Attempt {
  readonly #options: AttachOptions;
  readonly #settings: BarretenbergSettings;
  #attached: Attached | undefined;

  constructor(options: AttachOptions, settings: BarretenbergSettings) {
    this.#options = options;
    this.#settings = settings;
  }

  look(): Attached | undefined {
    try {
      this.#attached ??= this.#open();
      return this.#attached?.wire.settle() === true ? this.#attached : undefined;
    } catch (error) {
      this.close();
      throw toConnectError(error, this.#options.name);
    }
  }

  close(): void {
    this.#attached?.wire.close();
    this.#attached = undefined;
  }

  timedOut(timeoutMs: number): TimeoutError {
    this.close();
    const { name } = this.#options;
    return new TimeoutError(
      `Expected the server of the shared memory ${name} to be ready for a client within ${timeoutMs} ms, got one that is at work`,
      timeoutMs,
    );
  }

  #open(): Attached | undefined {
    let wire: Wire;
    try {
      wire = createWire({
        ...this.#options,
        side: 'client',
        requestRingBytes: 0,
        responseRingBytes: 0,
        spinMicros: this.#settings.spinMicros,
        workLimitMicros: 1000,
      });
    } catch (error) {
      // The server is just making it.
      if (errnoOf(error) === 'EAGAIN') return undefined;
      throw error;
    }
    try {
      if (wire.abandoned()) throw serverGone(this.#options.name);
      return { wire, peer: wire.findPeer(this.#settings.peerPid) };
    } catch (error) {
      wire.close();
      throw error;
    }
  }
}
