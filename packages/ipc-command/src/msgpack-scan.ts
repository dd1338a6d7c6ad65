/**
 * Looks at msgpack before anything is made of it. A few bytes can announce arrays of billions, nest without end, or use extensions that
 * a decoder obeys: each would cost a server its memory, where a bad payload must cost its sender an error and nothing else.
 */

/** Values in one message: each costs up to about 60 bytes when it is decoded. */
export const MAX_VALUES: number = 4 * 1024 * 1024;
export const MAX_DEPTH = 128;
/** Extension 0 is how msgpackr writes undefined, 255 (-1) is msgpack's own timestamp, 66 msgpackr's integers beyond 64 bits. */
const EXTENSION_UNDEFINED = 0;
const EXTENSION_TIMESTAMP = 255;
const EXTENSION_BIG_INTEGER = 66;
/** Making a bigint of bytes takes more than linear time. */
const MAX_BIG_INTEGER_BYTES = 1024;

/** What is wrong with `bytes` as one msgpack value, or undefined when nothing is. */
export function msgpackProblem(bytes: Uint8Array): string | undefined {
  return new Scan(bytes).run();
}

class Scan {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  #at = 0;
  #values = 0;
  /** Values that are still to come, one number per open container. */
  readonly #open: number[] = [1];

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  run(): string | undefined {
    const open = this.#open;
    const end = this.#bytes.byteLength;
    while (open.length > 0) {
      const left = open[open.length - 1] ?? 0;
      if (left === 0) {
        open.pop();
        continue;
      }
      open[open.length - 1] = left - 1;
      if (this.#at >= end) return 'an end of the bytes inside a value';
      if (++this.#values > MAX_VALUES) return `more than ${MAX_VALUES} values`;
      const problem = this.#value(this.#bytes[this.#at++] ?? 0);
      if (problem !== undefined) return problem;
      if (this.#at > end) return 'an end of the bytes inside a value';
    }
    return this.#at < end ? `${end - this.#at} bytes after the value` : undefined;
  }

  #value(type: number): string | undefined {
    if (type < 0x80 || type >= 0xe0) return undefined;
    if (type < 0x90) return this.#container((type & 0x0f) * 2);
    if (type < 0xa0) return this.#container(type & 0x0f);
    if (type < 0xc0) return this.#skip(type & 0x1f);
    switch (type) {
      case 0xc0: // nil
      case 0xc2: // false
      case 0xc3: // true
        return undefined;
      case 0xc4: // bin
      case 0xd9: // str
        return this.#skip(this.#length(1));
      case 0xc5:
      case 0xda:
        return this.#skip(this.#length(2));
      case 0xc6:
      case 0xdb:
        return this.#skip(this.#length(4));
      case 0xc7: // ext
        return this.#extension(this.#length(1));
      case 0xc8:
        return this.#extension(this.#length(2));
      case 0xc9:
        return this.#extension(this.#length(4));
      case 0xcc: // integers of 1, 2, 4, 8 bytes and floats of 4 and 8
      case 0xd0:
        return this.#skip(1);
      case 0xcd:
      case 0xd1:
        return this.#skip(2);
      case 0xca:
      case 0xce:
      case 0xd2:
        return this.#skip(4);
      case 0xcb:
      case 0xcf:
      case 0xd3:
        return this.#skip(8);
      case 0xd4: // fixext
      case 0xd5:
      case 0xd6:
      case 0xd7:
      case 0xd8:
        return this.#extension(1 << (type - 0xd4));
      case 0xdc: // array
        return this.#container(this.#length(2));
      case 0xdd:
        return this.#container(this.#length(4));
      case 0xde: // map
        return this.#container(this.#length(2) * 2);
      case 0xdf:
        return this.#container(this.#length(4) * 2);
      default:
        return `a byte ${type} where a value begins`;
    }
  }

  /** A length of `width` bytes. Beyond the end it is 0, and the position says so. */
  #length(width: 1 | 2 | 4): number {
    const at = this.#at;
    this.#at += width;
    if (this.#at > this.#bytes.byteLength) return 0;
    if (width === 1) return this.#view.getUint8(at);
    return width === 2 ? this.#view.getUint16(at) : this.#view.getUint32(at);
  }

  #skip(bytes: number): undefined {
    this.#at += bytes;
    return undefined;
  }

  #container(values: number): string | undefined {
    // Each value has at least one byte: what announces more is a lie.
    if (values > this.#bytes.byteLength - this.#at) return 'a container that is longer than its bytes';
    if (this.#open.length > MAX_DEPTH) return `containers nested more than ${MAX_DEPTH} deep`;
    this.#open.push(values);
    return undefined;
  }

  #extension(bytes: number): string | undefined {
    const type = this.#length(1);
    this.#at += bytes;
    if (type === EXTENSION_UNDEFINED || type === EXTENSION_TIMESTAMP) return undefined;
    if (type === EXTENSION_BIG_INTEGER) {
      return bytes <= MAX_BIG_INTEGER_BYTES ? undefined : `an integer of ${bytes} bytes`;
    }
    return `an extension of type ${type}`;
  }
}
