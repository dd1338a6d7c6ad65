import { nowNs } from './clock.ts';
import type { Measured } from './control.ts';
import type { Samples } from './samples.ts';

/** Small messages are timed one in so many: reading the clock for each would be a large part of what is measured. */
const MIN_STRIDE = 16;
const MAX_STRIDE = 64;
const LARGE_BYTES = 65_536;

/** Counts messages under way, which are answered in order, and times some of them. */
export class Meter {
  /** Whether more should be sent. */
  open = true;
  readonly #samples: Samples;
  readonly #stride: number;
  readonly #beginNs: number;
  readonly #endNs: number;
  /** When the timed messages were sent, oldest first. */
  readonly #sentAtNs: Float64Array;
  #sent = 0;
  #received = 0;
  /** The next message to time, on its way out and on its way back. */
  #nextOut = 0;
  #nextBack = 0;
  #slotOut = 0;
  #slotBack = 0;

  /** `depth`: how many are under way at most. */
  constructor(samples: Samples, ms: number, { depth, bytes }: { readonly depth: number; readonly bytes: number }) {
    this.#samples = samples;
    const stride = bytes >= LARGE_BYTES ? 1 : Math.min(MAX_STRIDE, Math.max(MIN_STRIDE, depth));
    this.#stride = stride;
    this.#sentAtNs = new Float64Array(Math.ceil(depth / stride) + 1);
    this.#beginNs = nowNs();
    this.#endNs = this.#beginNs + ms * 1e6;
  }

  get underWay(): number {
    return this.#sent - this.#received;
  }

  /** Call it before a message is sent. */
  sent(): void {
    if (this.#sent++ !== this.#nextOut) return;
    this.#nextOut += this.#stride;
    this.#sentAtNs[this.#slotOut] = nowNs();
    if (++this.#slotOut === this.#sentAtNs.length) this.#slotOut = 0;
  }

  /** Call it when `count` more answers are there. */
  received(count = 1): void {
    this.#received += count;
    if (this.#received <= this.#nextBack) return;
    const now = nowNs();
    do {
      this.#samples.add(now - (this.#sentAtNs[this.#slotBack] ?? now));
      if (++this.#slotBack === this.#sentAtNs.length) this.#slotBack = 0;
      this.#nextBack += this.#stride;
    } while (this.#received > this.#nextBack);
    if (now >= this.#endNs) this.open = false;
  }

  /** Call it when the last answer is there. */
  finish(): Measured {
    const seconds = (nowNs() - this.#beginNs) / 1e9;
    return { latency: this.#samples.take().latency, perSecond: this.#received / seconds, bytesPerClient: null };
  }
}
