/** Cuts the bytes of a plain peer (`u32 length` and payload, over and over) into frames, as far as its window allows. */
import {
  chargeOf,
  MAX_LENGTH,
  MessageTooLargeError,
  packKindAndId,
  packLength,
  ProtocolError,
  type Bytes,
  type Frame,
  type ReassemblyBudget,
  type Reservation,
} from '@spanwire/ipc-core';
import { MAX_BATCH_FRAMES } from './frame-decoder.ts';
import { readU32 } from './little-endian.ts';
import { FrameMemory, ownBytes, SpanFrame, type FrameOwner } from './span-frame.ts';

export const PREFIX_BYTES = 4;

export interface PlainSink {
  /** A batch in order; the array is reused. False: decode no more. */
  deliver(frames: readonly Frame[]): boolean;
  /** Nothing more can be taken now: stop reading. */
  pause(): void;
  /** Called outside of `push`, after `pause`: push {@link PlainDecoder.takeRest}, then read on. */
  resumable(): void;
}

export interface PlainDecoderOptions {
  readonly kind: number;
  readonly windowBytes: number;
  readonly maxMessageBytes: number;
  /** Where messages above a quarter of the window reserve their memory; undefined: nowhere. */
  readonly budget: ReassemblyBudget | undefined;
}

export class PlainDecoder implements FrameOwner {
  readonly #options: PlainDecoderOptions;
  readonly #sink: PlainSink;
  readonly #tag: number;
  #pinnedBytes = 0;
  readonly #batch: Frame[] = [];
  readonly #prefix: Uint8Array = new Uint8Array(PREFIX_BYTES);
  #prefixFilled = 0;
  /** The length of a message whose body has not begun: it waits for its reservation. */
  #awaited: number | undefined;
  #reservation: Reservation | undefined;
  #body: Bytes | undefined;
  #bodyFilled = 0;
  #heldBytes = 0;
  #rest: Uint8Array<ArrayBuffer> | undefined;
  #paused = false;
  /** Granted, and not given back. */
  readonly #reservations: Set<Reservation> = new Set();

  constructor(options: PlainDecoderOptions, sink: PlainSink) {
    this.#options = options;
    this.#tag = packKindAndId(options.kind, 0);
    this.#sink = sink;
  }

  /** Part of a message has come, and the peer owes the rest (while it waits for memory here, the peer owes nothing). */
  get midFrame(): boolean {
    return this.#prefixFilled > 0 || this.#body !== undefined;
  }

  /** Nothing of a message has come that was not delivered. */
  get atBoundary(): boolean {
    return !this.midFrame && this.#awaited === undefined && this.#rest === undefined;
  }

  /** Charges of messages that are not released. */
  get heldBytes(): number {
    return this.#heldBytes;
  }

  /** Takes the next bytes. Throws {@link ProtocolError} or {@link MessageTooLargeError}. */
  push(chunk: Uint8Array<ArrayBuffer>): void {
    let memory: FrameMemory | undefined;
    if (this.#pinnedBytes < this.#options.windowBytes && chunk.length > 0) {
      this.#pinnedBytes += chunk.length;
      memory = new FrameMemory(chunk.buffer, this, chunk.length);
    }
    try {
      this.#decode(chunk, memory);
    } catch (error) {
      if (this.#batch.length > 0) this.#flush();
      throw error;
    } finally {
      memory?.drop();
    }
  }

  /** The bytes that were held back by a pause. */
  takeRest(): Uint8Array<ArrayBuffer> | undefined {
    const rest = this.#rest;
    this.#rest = undefined;
    this.#paused = false;
    return rest;
  }

  /** Gives every reservation back and forgets what is incomplete. Frames that are out stay valid. */
  abandon(): void {
    this.#rest = undefined;
    this.#body = undefined;
    this.#awaited = undefined;
    this.#prefixFilled = 0;
    this.#reservation?.giveBack();
    this.#reservation = undefined;
    for (const reservation of this.#reservations) reservation.giveBack();
    this.#reservations.clear();
  }

  reclaim(charge: number): void {
    this.#heldBytes -= charge;
    this.#wake();
  }

  unpin(byteLength: number): void {
    this.#pinnedBytes -= byteLength;
  }

  #wake(): void {
    if (!this.#paused || this.#heldBytes >= this.#options.windowBytes) return;
    if (this.#awaited !== undefined && this.#reservation?.granted !== true) return;
    this.#sink.resumable();
  }

  #decode(chunk: Uint8Array<ArrayBuffer>, memory: FrameMemory | undefined): void {
    const end = chunk.length;
    const batch = this.#batch;
    let at = 0;
    for (;;) {
      if (this.#body !== undefined) {
        at = this.#fillBody(this.#body, chunk, at);
        if (this.#body !== undefined) break;
      } else if (this.#awaited !== undefined) {
        if (this.#reservation?.granted !== true) {
          this.#pause(chunk, at);
          break;
        }
        at = this.#begin(this.#awaited, chunk, at, memory);
      } else {
        if (at === end) break;
        if (this.#heldBytes >= this.#options.windowBytes) {
          // What is about to be delivered may be released in the call.
          if (batch.length > 0 && !this.#flush()) return;
          if (this.#heldBytes >= this.#options.windowBytes) {
            this.#pause(chunk, at);
            break;
          }
        }
        at = this.#readPrefix(chunk, at, memory);
      }
      if (batch.length === MAX_BATCH_FRAMES && !this.#flush()) return;
    }
    if (batch.length > 0) this.#flush();
  }

  /** Reads a length, and the message behind it as far as it can be. */
  #readPrefix(chunk: Uint8Array<ArrayBuffer>, from: number, memory: FrameMemory | undefined): number {
    let at = from;
    let length: number;
    if (this.#prefixFilled === 0 && chunk.length - at >= PREFIX_BYTES) {
      length = readU32(chunk, at);
      at += PREFIX_BYTES;
    } else {
      while (this.#prefixFilled < PREFIX_BYTES && at < chunk.length) {
        this.#prefix[this.#prefixFilled++] = chunk[at++] ?? 0;
      }
      if (this.#prefixFilled < PREFIX_BYTES) return at;
      this.#prefixFilled = 0;
      length = readU32(this.#prefix, 0);
    }
    const { budget, maxMessageBytes, windowBytes } = this.#options;
    if (length > MAX_LENGTH) throw new ProtocolError(`Expected a length of at most ${MAX_LENGTH}, got ${length}`);
    if (length > maxMessageBytes) throw new MessageTooLargeError(length, maxMessageBytes, "this side's");
    if (budget !== undefined && length > windowBytes / 4) {
      this.#awaited = length;
      this.#reservation = budget.reserve(length, () => this.#wake());
      return at;
    }
    return this.#begin(length, chunk, at, memory);
  }

  /** The body of a message of `length` bytes begins at `at`. */
  #begin(length: number, chunk: Uint8Array<ArrayBuffer>, at: number, memory: FrameMemory | undefined): number {
    this.#awaited = undefined;
    if (memory !== undefined && this.#reservation === undefined && length <= chunk.length - at) {
      memory.hold();
      this.#emit(length, memory, chunk.byteOffset + at);
      return at + length;
    }
    this.#body = ownBytes(length);
    this.#bodyFilled = 0;
    return at;
  }

  #fillBody(body: Bytes, chunk: Uint8Array<ArrayBuffer>, from: number): number {
    const take = Math.min(body.length - this.#bodyFilled, chunk.length - from);
    if (take > 0) body.set(chunk.subarray(from, from + take), this.#bodyFilled);
    this.#bodyFilled += take;
    if (this.#bodyFilled === body.length) {
      this.#body = undefined;
      this.#emit(body.length, new FrameMemory(body.buffer, this.#takeOwner(), 0), 0);
    }
    return from + take;
  }

  #emit(length: number, memory: FrameMemory, offset: number): void {
    this.#heldBytes += chargeOf(length);
    this.#batch.push(new SpanFrame(packLength(length, 0), this.#tag, memory, offset));
  }

  /** Who counts the message that is complete: this decoder, and the budget when it has reserved its memory there. */
  #takeOwner(): FrameOwner {
    const reservation = this.#reservation;
    if (reservation === undefined) return this;
    this.#reservation = undefined;
    this.#reservations.add(reservation);
    return {
      reclaim: (charge) => {
        this.#reservations.delete(reservation);
        reservation.giveBack();
        this.reclaim(charge);
      },
      unpin: () => {},
    };
  }

  #pause(chunk: Uint8Array<ArrayBuffer>, at: number): void {
    if (at < chunk.length) this.#rest = at === 0 ? chunk : chunk.subarray(at);
    this.#paused = true;
    this.#sink.pause();
  }

  #flush(): boolean {
    const batch = this.#batch;
    try {
      return this.#sink.deliver(batch);
    } finally {
      while (batch.length > 0) batch.pop();
    }
  }
}
