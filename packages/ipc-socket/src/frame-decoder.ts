/** Cuts the bytes of a Spanwire peer into frames. */
import {
  chargeOf,
  FLAG_MORE,
  HEADER_BYTES,
  isControl,
  KIND_CREDIT,
  KIND_GOAWAY,
  MAX_CONTROL_BYTES,
  MAX_LENGTH,
  MAX_WIRE_ID,
  ProtocolError,
  type Bytes,
  type Frame,
  type ReceiveWindow,
} from '@spanwire/ipc-core';
import { readU32 } from './little-endian.ts';
import { FrameMemory, ownBytes, SpanFrame, type FrameOwner } from './span-frame.ts';

/** Frames per `deliver`: enough to make the call free, little enough to notice a close soon. */
export const MAX_BATCH_FRAMES = 256;

export interface FrameSink {
  /** A batch in order; the array is reused. False: decode no more. */
  deliver(frames: readonly Frame[]): boolean;
  /** Credit for the connection's window came. May throw {@link ProtocolError}. */
  credit(bytes: number): void;
  /** The peer says that it will end the connection in order. The frame is delivered, too. */
  goaway(): void;
  /** A frame was released, so credit may be owed. */
  released(): void;
}

/**
 * A frame inside one chunk becomes a view into it. One that spans chunks is copied once, into memory of its own, which is allocated
 * only after its length was found to fit the window.
 */
export class FrameDecoder implements FrameOwner {
  readonly #sink: FrameSink;
  readonly #window: ReceiveWindow;
  readonly #windowBytes: number;
  #pinnedBytes = 0;
  readonly #batch: Frame[] = [];
  readonly #header: Uint8Array = new Uint8Array(HEADER_BYTES);
  #headerFilled = 0;
  #body: Bytes | undefined;
  #bodyFilled = 0;
  // The header of #body.
  #word = 0;
  #tag = 0;

  constructor(window: ReceiveWindow, windowBytes: number, sink: FrameSink) {
    this.#window = window;
    this.#windowBytes = windowBytes;
    this.#sink = sink;
  }

  /** Part of a frame has come and the rest has not. */
  get midFrame(): boolean {
    return this.#headerFilled > 0 || this.#body !== undefined;
  }

  /** Bytes of read chunks that are kept alive by unreleased frames. */
  get pinnedBytes(): number {
    return this.#pinnedBytes;
  }

  /**
   * Takes the next bytes; `chunk` must not be written to afterwards. Throws {@link ProtocolError} after delivering the frames before
   * the broken one.
   */
  push(chunk: Uint8Array<ArrayBuffer>): void {
    // Views would keep whole chunks alive without end, so beyond the window each payload is copied out exactly.
    let memory: FrameMemory | undefined;
    if (this.#pinnedBytes < this.#windowBytes) {
      this.#pinnedBytes += chunk.length;
      memory = new FrameMemory(chunk.buffer, this, chunk.length);
    }
    try {
      this.#decode(chunk, memory);
    } finally {
      memory?.drop();
    }
  }

  reclaim(charge: number): void {
    this.#window.release(charge);
    this.#sink.released();
  }

  unpin(byteLength: number): void {
    this.#pinnedBytes -= byteLength;
  }

  #decode(chunk: Uint8Array<ArrayBuffer>, memory: FrameMemory | undefined): void {
    const end = chunk.length;
    const base = chunk.byteOffset;
    const batch = this.#batch;
    let at = this.#headerFilled === 0 && this.#body === undefined ? 0 : this.#finishPartial(chunk);
    try {
      while (end - at >= HEADER_BYTES) {
        const word = readU32(chunk, at);
        const tag = readU32(chunk, at + 4);
        const length = word & MAX_LENGTH;
        this.#admit(word, tag);
        at += HEADER_BYTES;
        if (length > end - at) {
          this.#startBody(word, tag);
          break;
        }
        if (memory === undefined || isControl(tag >>> 28)) {
          // Control frames are small, and nobody has to release them.
          this.#emitOwned(word, tag, copyOf(chunk, at, length));
        } else {
          memory.hold();
          batch.push(new SpanFrame(word, tag, memory, base + at));
        }
        at += length;
        if (batch.length === MAX_BATCH_FRAMES && !this.#flush()) return;
      }
    } catch (error) {
      // What came before the broken frame was whole.
      if (batch.length > 0) this.#flush();
      throw error;
    }
    if (batch.length > 0 && !this.#flush()) return;
    if (at < end) this.#keep(chunk, at);
  }

  /** Completes the frame that earlier chunks began, as far as `chunk` goes; returns where the next one begins. */
  #finishPartial(chunk: Uint8Array<ArrayBuffer>): number {
    let at = 0;
    if (this.#headerFilled > 0) {
      const header = this.#header;
      while (this.#headerFilled < HEADER_BYTES && at < chunk.length) {
        header[this.#headerFilled++] = chunk[at++] ?? 0;
      }
      if (this.#headerFilled < HEADER_BYTES) return at;
      this.#headerFilled = 0;
      const word = readU32(header, 0);
      const tag = readU32(header, 4);
      this.#admit(word, tag);
      this.#startBody(word, tag);
    }
    const body = this.#body;
    if (body === undefined) return at;
    const missing = body.length - this.#bodyFilled;
    const take = Math.min(missing, chunk.length - at);
    body.set(take === chunk.length ? chunk : chunk.subarray(at, at + take), this.#bodyFilled);
    this.#bodyFilled += take;
    if (take < missing) return chunk.length;
    this.#body = undefined;
    this.#emitOwned(this.#word, this.#tag, body);
    return at + take;
  }

  /** The first bytes of a frame whose rest comes later. */
  #keep(chunk: Uint8Array, from: number): void {
    const body = this.#body;
    if (body === undefined) {
      this.#header.set(from === 0 ? chunk : chunk.subarray(from));
      this.#headerFilled = chunk.length - from;
    } else {
      body.set(chunk.subarray(from));
      this.#bodyFilled = chunk.length - from;
    }
  }

  #startBody(word: number, tag: number): void {
    this.#word = word;
    this.#tag = tag;
    this.#body = ownBytes(word & MAX_LENGTH);
    this.#bodyFilled = 0;
  }

  /** Checks a header and charges the window, before any memory is spent on the frame. */
  #admit(word: number, tag: number): void {
    const length = word & MAX_LENGTH;
    const kind = tag >>> 28;
    if (!isControl(kind)) {
      const charge = chargeOf(length);
      if (charge > this.#windowBytes) {
        throw new ProtocolError(
          `Expected data frames that fit the window of ${this.#windowBytes} bytes, got one of ${length} bytes`,
        );
      }
      this.#window.take(charge);
      return;
    }
    if (kind > KIND_CREDIT) throw new ProtocolError(`Expected a frame of kind 0 to ${KIND_CREDIT}, got kind ${kind}`);
    if (length > MAX_CONTROL_BYTES) {
      throw new ProtocolError(`Expected control frames of at most ${MAX_CONTROL_BYTES} bytes, got ${length} bytes`);
    }
    const flags = word >>> 30;
    if (flags !== 0) {
      throw new ProtocolError(
        `Expected control frames to be whole and plain, got ${(flags & FLAG_MORE) === 0 ? 'an extension' : 'a fragment'}`,
      );
    }
  }

  #emitOwned(word: number, tag: number, body: Bytes): void {
    const kind = tag >>> 28;
    if (kind === KIND_CREDIT && (tag & MAX_WIRE_ID) === 0) {
      if (body.length !== 4) throw new ProtocolError(`Expected credit of 4 bytes, got ${body.length}`);
      this.#sink.credit(readU32(body, 0));
      return;
    }
    if (kind === KIND_GOAWAY) this.#sink.goaway();
    this.#batch.push(new SpanFrame(word, tag, new FrameMemory(body.buffer, this, 0), 0));
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

function copyOf(chunk: Uint8Array, at: number, byteLength: number): Bytes {
  const copy = ownBytes(byteLength);
  if (byteLength > 0) copy.set(chunk.subarray(at, at + byteLength));
  return copy;
}
