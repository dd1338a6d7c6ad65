/** A frame in a ring. */
import type { Frame } from '@spanwire/ipc-core';
import type { ShmChannel } from './shm-channel.ts';

const NOTHING: Uint8Array<ArrayBuffer> = new Uint8Array(0);

export class ShmFrame implements Frame {
  readonly kind: number;
  readonly id: number;
  readonly flags: number;
  /** False: the bytes are the ring's until `release`. */
  readonly owned = false;
  readonly #channel: ShmChannel;
  /** Of the payload, in the mapping. */
  readonly #offset: number;
  readonly #length: number;
  /** Where the record starts, as a position in the life of the ring. */
  readonly #start: number;
  #payload: Uint8Array<ArrayBuffer> | undefined;
  #released = false;

  constructor(
    channel: ShmChannel,
    kind: number,
    id: number,
    flags: number,
    offset: number,
    length: number,
    start: number,
  ) {
    this.#channel = channel;
    this.kind = kind;
    this.id = id;
    this.flags = flags;
    this.#offset = offset;
    this.#length = length;
    this.#start = start;
  }

  get payload(): Uint8Array<ArrayBuffer> {
    return (this.#payload ??= this.#channel.view(this.#offset, this.#length));
  }

  release(): void {
    if (this.#released) return;
    this.#released = true;
    this.#channel.releaseRecord(this.#start, this.#length);
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
