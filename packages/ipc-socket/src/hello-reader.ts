/** Gathers one hello from chunks of any size. */
import { HELLO_HEADER_BYTES, helloByteLength } from '@spanwire/ipc-core';

export interface ReadHello {
  readonly hello: Uint8Array<ArrayBuffer>;
  /** What came behind it. */
  readonly rest: Uint8Array<ArrayBuffer>;
}

export class HelloReader {
  #bytes: Uint8Array<ArrayBuffer> = new Uint8Array(HELLO_HEADER_BYTES);
  #filled = 0;
  #lengthKnown = false;

  /** Takes the next bytes; the hello, once it is whole. Throws ProtocolError as soon as it can be none. */
  push(chunk: Uint8Array<ArrayBuffer>): ReadHello | undefined {
    let at = this.#fill(chunk, 0);
    if (!this.#lengthKnown) {
      const byteLength = helloByteLength(this.#bytes.subarray(0, this.#filled));
      if (byteLength === undefined) return undefined;
      const whole = new Uint8Array(byteLength);
      whole.set(this.#bytes);
      this.#bytes = whole;
      this.#lengthKnown = true;
      at = this.#fill(chunk, at);
    }
    if (this.#filled < this.#bytes.byteLength) return undefined;
    return { hello: this.#bytes, rest: chunk.subarray(at) };
  }

  #fill(chunk: Uint8Array, from: number): number {
    const take = Math.min(this.#bytes.byteLength - this.#filled, chunk.byteLength - from);
    this.#bytes.set(chunk.subarray(from, from + take), this.#filled);
    this.#filled += take;
    return from + take;
  }
}
