import type { Bytes } from '@spanwire/ipc-core';

/** UTF-8 bytes of `text`. */
export function bytes(text: string): Bytes {
  return new TextEncoder().encode(text);
}

/** The text of UTF-8 bytes. */
export function text(data: Uint8Array): string {
  return new TextDecoder().decode(data);
}
