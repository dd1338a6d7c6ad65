/** Copies of bytes. */
import type { Bytes } from './contract.ts';

/** A copy with memory of its own. Never `slice()`: that of a Buffer gives a view, and many callers' bytes are Buffers. */
export function copyOf(bytes: Uint8Array): Bytes {
  return new Uint8Array(bytes);
}
