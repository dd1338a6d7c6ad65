/** Gathers what is sent in one turn of the loop into one write. */
import type { Socket } from 'node:net';

const SEGMENT_BYTES: number = 64 * 1024;
/** From here on a claim gets memory of its own instead of a part of a segment. */
const LARGE_BYTES: number = 32 * 1024;
/**
 * A burst of this size leaves before the turn ends, so that the peer works on it while the rest is made: 256 requests at once pass in half the
 * time between two processors.
 */
const EAGER_BYTES: number = 8 * 1024;
const MAX_POOLED = 16;
/**
 * With this, a socket says 'drain' whenever a write that had to wait is done, which is cheaper than a callback for each write. Sockets that
 * were made elsewhere get the callbacks.
 */
export const HIGH_WATER_MARK = 1;
const EMPTY: Buffer = Buffer.alloc(0);

/**
 * Segments that no write uses. Idle connections hold none, so 500 of them cost nothing; a write that the kernel takes at once
 * (nearly all) gives its segment back in the same turn.
 */
const pool: Buffer[] = [];

/**
 * `claim` reserves room in {@link BatchWriter.bytes}, and what is claimed leaves at the end of the turn. At most one write is under way:
 * what is claimed meanwhile leaves together when it is done.
 */
export class BatchWriter {
  /** Where the last claim lies. */
  bytes: Buffer = EMPTY;
  #used = 0;
  /** Full segments before {@link bytes}, and what of them is used. */
  #full: Buffer[] = [];
  #fullParts: Buffer[] = [];
  #fullBytes = 0;
  #inFlight: Buffer[] = [];
  #writing = false;
  #scheduled = false;
  #gathering = false;
  #stopped = false;
  readonly #socket: Socket;
  readonly #beforeFlush: () => void;
  readonly #afterWrite: () => void;
  /** Undefined: the socket says 'drain' instead. */
  readonly #onWritten: (() => void) | undefined;

  /** `beforeFlush` may claim a last time; `afterWrite` is called when nothing is left to write, outside of `claim`. */
  constructor(socket: Socket, beforeFlush: () => void, afterWrite: () => void) {
    this.#socket = socket;
    this.#beforeFlush = beforeFlush;
    this.#afterWrite = afterWrite;
    const drained = (): void => this.#drained();
    if (socket.writableHighWaterMark <= HIGH_WATER_MARK) socket.on('drain', drained);
    else this.#onWritten = drained;
  }

  /** Bytes that were claimed and that the kernel has not taken. */
  get backlogBytes(): number {
    return this.#fullBytes + this.#used + (this.#writing ? this.#socket.writableLength : 0);
  }

  /** Everything is with the kernel. */
  get idle(): boolean {
    return !this.#writing && this.#used === 0 && this.#fullBytes === 0;
  }

  /** Reserves `byteLength` of {@link bytes}, to be filled before this turn ends; returns where they begin. */
  claim(byteLength: number): number {
    if (this.#used >= EAGER_BYTES) this.#write();
    const at = this.#used;
    if (at + byteLength > this.bytes.length) return this.#claimSegment(byteLength);
    this.#used = at + byteLength;
    if (!this.#scheduled) this.schedule();
    return at;
  }

  /** Flushes when the JavaScript of this turn is done, its microtasks included. */
  schedule(): void {
    if (this.#scheduled || this.#stopped) return;
    this.#scheduled = true;
    if (!this.#gathering) process.nextTick(flushOf, this);
  }

  /** Until {@link gathered}: a burst of claims is expected, and its end will be known. */
  gather(): void {
    this.#gathering = true;
  }

  /** What was gathered leaves now. What only asked for a flush, as owed credit does, still waits for the end of the turn. */
  gathered(): void {
    this.#gathering = false;
    if (this.#used > 0) this.flush();
    else if (this.#scheduled) process.nextTick(flushOf, this);
  }

  /** Hands everything to the socket; when a write is under way, its end does so. */
  flush(): void {
    if (!this.#writing && !this.#stopped) this.#beforeFlush();
    this.#scheduled = false;
    this.#write();
    if (!this.#writing && !this.#stopped) this.#afterWrite();
  }

  #write(): void {
    if (this.#used === 0 || this.#writing) return;
    const socket = this.#socket;
    const segment = this.bytes;
    const last = segment.subarray(0, this.#used);
    this.#used = 0;
    this.bytes = EMPTY;
    if (this.#full.length === 0) {
      socket.write(last, this.#onWritten);
    } else {
      socket.cork();
      for (const part of this.#fullParts) socket.write(part);
      socket.write(last, this.#onWritten);
      this.#inFlight = this.#full;
      this.#full = [];
      this.#fullParts = [];
      this.#fullBytes = 0;
      socket.uncork();
    }
    this.#inFlight.push(segment);
    // Nothing left with the stream: the kernel has it all.
    if (socket.writableLength === 0) this.#recycle();
    else this.#writing = true;
  }

  /** Drops what was not handed over, and takes no more. */
  stop(): void {
    this.#stopped = true;
    this.#used = 0;
    this.#full = [];
    this.#fullParts = [];
    this.#fullBytes = 0;
    this.bytes = EMPTY;
  }

  #claimSegment(byteLength: number): number {
    if (this.#used > 0) {
      this.#full.push(this.bytes);
      this.#fullParts.push(this.bytes.subarray(0, this.#used));
      this.#fullBytes += this.#used;
    }
    this.bytes =
      byteLength >= LARGE_BYTES
        ? Buffer.allocUnsafeSlow(byteLength)
        : (pool.pop() ?? Buffer.allocUnsafeSlow(SEGMENT_BYTES));
    this.#used = byteLength;
    this.schedule();
    return 0;
  }

  /** Also called after writes that were done at once, by callbacks and in versions of Node that say 'drain' for them. */
  #drained(): void {
    if (!this.#writing || this.#socket.writableLength > 0) return;
    this.#writing = false;
    this.#recycle();
    this.flush();
  }

  #recycle(): void {
    const inFlight = this.#inFlight;
    for (let segment = inFlight.pop(); segment !== undefined; segment = inFlight.pop()) {
      if (segment.length === SEGMENT_BYTES && pool.length < MAX_POOLED) pool.push(segment);
    }
  }
}

function flushOf(writer: BatchWriter): void {
  writer.flush();
}
