/** What comes out of a wire's ring, as frames: where the bytes go, and how many are held. */
import { chargeOf, MessageTooLargeError, type Frame } from '@spanwire/ipc-core';
import { Chunk, ChunkFrame, OwnFrame, type FrameOwner } from './frame.ts';
import { LARGE_BYTES, STATE_CHUNK_USED, STATE_PAUSED, type Wire } from './wire.ts';

const CHUNK_BYTES: number = 64 * 1024;

export interface InletOptions {
  /** Of the frames. */
  readonly kind: number;
  /** Unreleased bytes beyond which the inlet is full. */
  readonly windowBytes: number;
  readonly maxMessageBytes: number;
  /**
   * Whether messages stay in the ring while the inlet is full. Not for clients of the published server, which gives up an answer that finds
   * no room for 100 ms: they send nothing more instead, and take what is under way.
   */
  readonly pauses: boolean;
}

export class Inlet implements FrameOwner {
  readonly #wire: Wire;
  readonly #batch: Int32Array;
  readonly #state: Int32Array;
  readonly #options: InletOptions;
  /** There is space again after `full`. Called from inside `release`. */
  onSpace: (() => void) | undefined;
  #chunk = new Chunk(CHUNK_BYTES);
  /** Chunks that were left behind because frames still lie in them. */
  #pinned: Chunk[] = [];
  #heldBytes = 0;
  #largestTaken = 0;
  #stopped = false;
  #retired = false;

  constructor(wire: Wire, options: InletOptions) {
    this.#wire = wire;
    this.#batch = wire.batch;
    this.#state = wire.state;
    this.#options = options;
    this.#state[STATE_PAUSED] = 0;
    wire.useChunk(this.#chunk.bytes);
  }

  get full(): boolean {
    return this.#heldBytes >= this.#options.windowBytes;
  }

  /** Of the messages of the last batch. */
  get largestTaken(): number {
    return this.#largestTaken;
  }

  /** Nobody takes messages, or somebody does again. */
  set stopped(value: boolean) {
    this.#stopped = value;
    this.#settle();
  }

  /** The frames of a batch. To be called once for each; `batchEnd` after their delivery. Throws {@link MessageTooLargeError}. */
  take(count: number): Frame[] {
    const batch = this.#batch;
    const { kind, windowBytes, maxMessageBytes } = this.#options;
    const frames: Frame[] = [];
    let largest = 0;
    const pinning = this.#pinned.length * CHUNK_BYTES < windowBytes;
    for (let i = 0; i < count; i++) {
      const offset = batch[2 * i] ?? 0;
      const length = batch[2 * i + 1] ?? 0;
      if (length > maxMessageBytes) throw new MessageTooLargeError(length, maxMessageBytes, "this side's");
      this.#heldBytes += chargeOf(length);
      if (length > largest) largest = length;
      if (offset < 0) {
        // Zeroing megabytes that are about to be written would be a waste.
        const bytes = new Uint8Array(Buffer.allocUnsafeSlow(length).buffer);
        this.#wire.takeLarge(bytes);
        frames.push(new OwnFrame(this, kind, bytes));
      } else if (pinning) {
        frames.push(new ChunkFrame(this, kind, this.#chunk, offset, length));
      } else {
        frames.push(new OwnFrame(this, kind, this.#chunk.bytes.slice(offset, offset + length)));
      }
    }
    this.#largestTaken = largest;
    this.#settle();
    return frames;
  }

  batchEnd(): void {
    if (this.#chunk.holders === 0) {
      this.#state[STATE_CHUNK_USED] = 0;
    } else if ((this.#state[STATE_CHUNK_USED] ?? 0) > CHUNK_BYTES - LARGE_BYTES) {
      this.#pinned = this.#pinned.filter(({ holders }) => holders > 0);
      this.#pinned.push(this.#chunk);
      this.#chunk = new Chunk(CHUNK_BYTES);
      this.#wire.useChunk(this.#chunk.bytes);
    }
  }

  /** Frames that are still held have nothing to do with the wire any more. */
  retire(): void {
    this.#retired = true;
  }

  reclaim(charge: number): void {
    const wasFull = this.full;
    this.#heldBytes -= charge;
    if (!wasFull || this.full || this.#retired) return;
    this.#settle();
    this.onSpace?.();
  }

  #settle(): void {
    const paused = this.#stopped || (this.#options.pauses && this.full) ? 1 : 0;
    if (this.#state[STATE_PAUSED] === paused) return;
    this.#state[STATE_PAUSED] = paused;
    if (paused === 0) this.#wire.kick();
  }
}
