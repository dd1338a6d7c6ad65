/** Received messages. They are copies: the ring is given back at once, since the published client fails when it finds it full. */
import { chargeOf, type Bytes, type Frame } from '@spanwire/ipc-core';

/** Whoever counts the bytes of unreleased frames. */
export interface FrameOwner {
  reclaim(charge: number): void;
}

/** Memory that many small messages share. It is used again once no frame holds it. */
export class Chunk {
  readonly bytes: Bytes;
  holders = 0;

  constructor(byteLength: number) {
    this.bytes = new Uint8Array(byteLength);
  }
}

/** A message in a chunk. */
export class ChunkFrame implements Frame {
  readonly kind: number;
  readonly id = 0;
  readonly flags = 0;
  readonly owned = false;
  readonly #owner: FrameOwner;
  readonly #chunk: Chunk;
  readonly #offset: number;
  readonly #length: number;
  #view: Bytes | undefined;
  #released = false;

  constructor(owner: FrameOwner, kind: number, chunk: Chunk, offset: number, length: number) {
    this.#owner = owner;
    this.kind = kind;
    this.#chunk = chunk;
    this.#offset = offset;
    this.#length = length;
    chunk.holders++;
  }

  get payload(): Bytes {
    return (this.#view ??= new Uint8Array(this.#chunk.bytes.buffer, this.#offset, this.#length));
  }

  release(): void {
    if (this.#released) return;
    this.#released = true;
    this.#chunk.holders--;
    this.#owner.reclaim(chargeOf(this.#length));
  }
}

/** A message in memory of its own, which may outlive its release. */
export class OwnFrame implements Frame {
  readonly kind: number;
  readonly id = 0;
  readonly flags = 0;
  readonly owned = true;
  readonly payload: Bytes;
  readonly #owner: FrameOwner;
  #released = false;

  constructor(owner: FrameOwner, kind: number, payload: Bytes) {
    this.#owner = owner;
    this.kind = kind;
    this.payload = payload;
  }

  release(): void {
    if (this.#released) return;
    this.#released = true;
    this.#owner.reclaim(chargeOf(this.payload.length));
  }
}
