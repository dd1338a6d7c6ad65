/** A received frame, and the count of the read chunks that received frames keep alive. */
import type { Bytes, Frame } from '@spanwire/ipc-core';

/** Whoever counts the bytes of unreleased frames. */
export interface FrameOwner {
  /** A frame that was charged `charge` was released. */
  reclaim(charge: number): void;
}

/** Bytes of read chunks that unreleased frames point into. */
export class PinnedBytes {
  value = 0;
}

/**
 * One read chunk. It counts as pinned while the decoder or any frame holds it: one small span kept for long keeps all of the
 * chunk's memory alive.
 */
export class ChunkPin {
  private readonly pinned: PinnedBytes;
  private readonly byteLength: number;
  private holders = 1;

  constructor(pinned: PinnedBytes, byteLength: number) {
    this.pinned = pinned;
    this.byteLength = byteLength;
    pinned.value += byteLength;
  }

  hold(): void {
    this.holders++;
  }

  drop(): void {
    if (--this.holders === 0) this.pinned.value -= this.byteLength;
  }
}

/**
 * A frame whose payload is a view into a read chunk (`pin`), or has memory of its own. The view is made on first access.
 *
 * Fields are `private` and not `#private`: frames are made by the million, and `#private` ones cost more to set up.
 */
export class SpanFrame implements Frame {
  readonly kind: number;
  readonly id: number;
  readonly flags: number;
  readonly owned: boolean;
  private readonly buffer: ArrayBuffer;
  private readonly offset: number;
  private readonly length: number;
  private readonly charge: number;
  private view: Bytes | undefined;
  private pin: ChunkPin | undefined;
  private owner: FrameOwner | undefined;

  constructor(
    kind: number,
    id: number,
    flags: number,
    buffer: ArrayBuffer,
    offset: number,
    length: number,
    charge: number,
    pin: ChunkPin | undefined,
    owner: FrameOwner | undefined,
  ) {
    this.kind = kind;
    this.id = id;
    this.flags = flags;
    this.owned = pin === undefined;
    this.buffer = buffer;
    this.offset = offset;
    this.length = length;
    this.charge = charge;
    this.view = undefined;
    this.pin = pin;
    this.owner = owner;
  }

  get payload(): Bytes {
    return (this.view ??= new Uint8Array(this.buffer, this.offset, this.length));
  }

  release(): void {
    const owner = this.owner;
    if (owner === undefined) return;
    this.owner = undefined;
    const pin = this.pin;
    if (pin !== undefined) {
      this.pin = undefined;
      pin.drop();
    }
    owner.reclaim(this.charge);
  }
}

/** Uninitialised memory of its own, for a payload that is about to be written in full. */
export function ownBytes(byteLength: number): Bytes {
  // Small ones are zeroed faster than the detour through Buffer takes.
  if (byteLength <= 4096) return new Uint8Array(byteLength);
  return new Uint8Array(Buffer.allocUnsafeSlow(byteLength).buffer);
}
