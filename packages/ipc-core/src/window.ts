/**
 * The connection's window, for channels on byte streams: the sender spends {@link chargeOf} per data frame, the receiver gives it back as
 * frames are released. Shared memory needs none of it: there the ring is the window.
 */
import { ProtocolError } from './errors.ts';

/** The sender's side. */
export class SendWindow {
  readonly windowBytes: number;
  #available: number;

  constructor(windowBytes: number) {
    this.windowBytes = windowBytes;
    this.#available = windowBytes;
  }

  /** Spends `charge`, or returns false when the window has less. */
  tryTake(charge: number): boolean {
    if (charge > this.#available) return false;
    this.#available -= charge;
    return true;
  }

  /** Credit came. Throws {@link ProtocolError} when it is more than was ever spent. */
  give(bytes: number): void {
    if (this.#available + bytes > this.windowBytes) {
      throw new ProtocolError(
        `Expected credit of at most ${this.windowBytes - this.#available} bytes (what was spent), got ${bytes}`,
      );
    }
    this.#available += bytes;
  }
}

/** The receiver's side. */
export class ReceiveWindow {
  readonly #windowBytes: number;
  readonly #eagerBytes: number;
  readonly #sendCredit: (bytes: number) => void;
  #held = 0;
  #owed = 0;

  constructor(windowBytes: number, sendCredit: (bytes: number) => void) {
    this.#windowBytes = windowBytes;
    this.#eagerBytes = windowBytes >>> 3;
    this.#sendCredit = sendCredit;
  }

  /** Charges of frames that are not released. */
  get heldBytes(): number {
    return this.#held;
  }

  /** A frame came. Throws {@link ProtocolError} when the peer sent beyond the window. */
  take(charge: number): void {
    if (this.#held + this.#owed + charge > this.#windowBytes) {
      throw new ProtocolError(
        `Expected data inside the window of ${this.#windowBytes} bytes, got ${this.#held + this.#owed + charge} bytes`,
      );
    }
    this.#held += charge;
  }

  /** A frame was released. Credit goes back in portions of an eighth of the window: a frame per frame would double the traffic. */
  release(charge: number): void {
    this.#held -= charge;
    this.#owed += charge;
    if (this.#owed >= this.#eagerBytes) this.#pay();
  }

  /**
   * To be called when a turn of the loop ends. While frames are held, small portions matter too: the sender may wait for just them.
   * With nothing held, at least seven eighths are free, and the largest frame needs a quarter.
   */
  settle(): void {
    if (this.#held > 0 && this.#owed > 0) this.#pay();
  }

  #pay(): void {
    const bytes = this.#owed;
    this.#owed = 0;
    this.#sendCredit(bytes);
  }
}
