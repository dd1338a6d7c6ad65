/** A received frame, and the memory it lies in. */
import { chargeOf, isControl, MAX_LENGTH, MAX_WIRE_ID, type Bytes, type Frame } from '@spanwire/ipc-core';

/** Whoever counts the bytes of unreleased frames. */
export interface FrameOwner {
  /** A frame that was charged `charge` was released. */
  reclaim(charge: number): void;
  /** No frame lies in a read chunk of `byteLength` bytes any more. */
  unpin(byteLength: number): void;
}

/**
 * Memory that frames lie in: a read chunk, shared by all frames in it, or the memory of frames that have their own. A chunk counts as pinned
 * while the decoder or any frame holds it, because one small span that is kept for long keeps all of the chunk alive.
 */
export class FrameMemory {
  readonly buffer: ArrayBuffer;
  readonly owner: FrameOwner;
  /** 0: not shared. */
  private readonly pinnedBytes: number;
  private holders: number;

  /** `pinnedBytes` above 0 is a read chunk of that size, held by whoever decodes it. */
  constructor(buffer: ArrayBuffer, owner: FrameOwner, pinnedBytes: number) {
    this.buffer = buffer;
    this.owner = owner;
    this.pinnedBytes = pinnedBytes;
    this.holders = 1;
  }

  get shared(): boolean {
    return this.pinnedBytes > 0;
  }

  hold(): void {
    this.holders++;
  }

  drop(): void {
    if (--this.holders === 0 && this.pinnedBytes > 0) this.owner.unpin(this.pinnedBytes);
  }
}

/**
 * One frame. Its header stays packed and its view is made on first access: frames are made by the million, and what is not asked for
 * should not be paid for. (`private` and not `#private` for the same reason.)
 */
export class SpanFrame implements Frame {
  private readonly word: number;
  private readonly tag: number;
  private readonly memory: FrameMemory;
  private readonly offset: number;
  private view: Bytes | undefined;
  private released: boolean;

  /** `word` and `tag` are the header, `offset` is where the payload begins in `memory`. */
  constructor(word: number, tag: number, memory: FrameMemory, offset: number) {
    this.word = word;
    this.tag = tag;
    this.memory = memory;
    this.offset = offset;
    this.view = undefined;
    this.released = false;
  }

  get kind(): number {
    return this.tag >>> 28;
  }

  get id(): number {
    return this.tag & MAX_WIRE_ID;
  }

  get flags(): number {
    return this.word >>> 30;
  }

  get owned(): boolean {
    return !this.memory.shared;
  }

  get payload(): Bytes {
    return (this.view ??= new Uint8Array(this.memory.buffer, this.offset, this.word & MAX_LENGTH));
  }

  release(): void {
    if (this.released) return;
    this.released = true;
    this.memory.drop();
    if (!isControl(this.tag >>> 28)) this.memory.owner.reclaim(chargeOf(this.word & MAX_LENGTH));
  }
}

/** Uninitialised memory, for a payload that is about to be written in full. */
export function ownBytes(byteLength: number): Bytes {
  // Small ones are zeroed faster than the detour through Buffer takes.
  if (byteLength <= 4096) return new Uint8Array(byteLength);
  return new Uint8Array(Buffer.allocUnsafeSlow(byteLength).buffer);
}
