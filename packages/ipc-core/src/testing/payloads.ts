/** Payloads of tests. */
import type { Bytes } from '../contract.ts';

const utf8 = new TextEncoder();
const fromUtf8 = new TextDecoder();

export function bytesOf(text: string): Bytes {
  return utf8.encode(text);
}

export function textOf(bytes: Uint8Array): string {
  return fromUtf8.decode(bytes);
}

/** `size` bytes that differ by `seed`, and from one place to the next. */
export function pattern(size: number, seed = 0): Bytes {
  const bytes = new Uint8Array(size);
  let state = (seed * 2_654_435_761 + 1) >>> 0;
  for (let i = 0; i < size; i++) {
    state = (state * 1_664_525 + 1_013_904_223) >>> 0;
    bytes[i] = state >>> 24;
  }
  return bytes;
}

/** Whether both are the same, without the cost of a comparison that explains itself: for large payloads. */
export function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0;
}

export function u32(value: number): Bytes {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, value, true);
  return bytes;
}

export function readU32(bytes: Uint8Array, at = 0): number {
  return new DataView(bytes.buffer, bytes.byteOffset).getUint32(at, true);
}
