/** Collects the bytes of a hello: they may come in pieces. */
import { helloByteLength, MAX_HELLO_BYTES, ProtocolError } from '@spanwire/ipc-core';

export class HelloBuffer {
  readonly #bytes: Uint8Array<ArrayBuffer> = new Uint8Array(MAX_HELLO_BYTES + 1);
  #filled = 0;

  /** Where the next bytes go. */
  get room(): Uint8Array<ArrayBuffer> {
    return this.#bytes.subarray(this.#filled);
  }

  /** Bytes came into `room`. The whole hello once it is there. Throws ProtocolError when it is none, or more than one. */
  push(count: number): Uint8Array<ArrayBuffer> | undefined {
    this.#filled += count;
    const bytes = this.#bytes.subarray(0, this.#filled);
    const length = helloByteLength(bytes);
    if (length === undefined || bytes.length < length) return undefined;
    if (bytes.length > length) {
      throw new ProtocolError(`Expected a hello of ${length} bytes alone, got ${bytes.length}`);
    }
    return bytes;
  }
}
