/** A frame in a ring. */
import { MAX_WIRE_ID, type Frame } from '@spanwire/ipc-core';
import { RECORD_LENGTH_MASK } from './layout.ts';
import type { ShmChannel } from './shm-channel.ts';

const NOTHING: Uint8Array<ArrayBuffer> = new Uint8Array(0);

/**
 * One frame. Its header stays packed and its view is made on first access: frames are made by the million, and what is not asked for should not
 * be paid for. (`private` and not `#private` for the same reason.)
 */
export class ShmFrame implements Frame {
  private readonly channel: ShmChannel;
  /** The header of the record. */
  private readonly word0: number;
  private readonly word1: number;
  /** Of the payload, in the mapping. */
  private readonly offset: number;
  /** Where the record starts, as a position in the life of the ring. */
  private readonly start: number;
  private view: Uint8Array<ArrayBuffer> | undefined;
  private released: boolean;

  constructor(channel: ShmChannel, word0: number, word1: number, offset: number, start: number) {
    this.channel = channel;
    this.word0 = word0;
    this.word1 = word1;
    this.offset = offset;
    this.start = start;
    this.view = undefined;
    this.released = false;
  }

  get kind(): number {
    return this.word1 >>> 28;
  }

  get id(): number {
    return this.word1 & MAX_WIRE_ID;
  }

  get flags(): number {
    return this.word0 >>> 30;
  }

  /** The bytes are the ring's until `release`. */
  get owned(): boolean {
    return false;
  }

  get payload(): Uint8Array<ArrayBuffer> {
    return (this.view ??= this.channel.view(this.offset, this.word0 & RECORD_LENGTH_MASK));
  }

  release(): void {
    if (this.released) return;
    this.released = true;
    this.channel.releaseRecord(this.start, this.word0 & RECORD_LENGTH_MASK);
  }
}

/** A control frame: a few bytes, copied out of the ring, which is given back with the next batch. */
export class ControlFrame implements Frame {
  readonly kind: number;
  readonly id: number;
  readonly flags: number;
  readonly owned = true;
  readonly payload: Uint8Array<ArrayBuffer>;

  constructor(kind: number, id: number, flags: number, payload: Uint8Array<ArrayBuffer>) {
    this.kind = kind;
    this.id = id;
    this.flags = flags;
    this.payload = payload.length === 0 ? NOTHING : payload;
  }

  release(): void {}
}
