/** Bytes as a peer would send them. */
import { createHash } from 'node:crypto';
import { packKindAndId, packLength } from '@spanwire/ipc-core';

export interface WireFrame {
  readonly kind: number;
  readonly id: number;
  readonly flags: number;
  readonly payload: Uint8Array;
}

export function encodeFrame({ kind, id, flags, payload }: WireFrame): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(8 + payload.byteLength);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, packLength(payload.byteLength, flags), true);
  view.setUint32(4, packKindAndId(kind, id), true);
  bytes.set(payload, 8);
  return bytes;
}

export function encodePlain(payload: Uint8Array): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(4 + payload.byteLength);
  new DataView(bytes.buffer).setUint32(0, payload.byteLength, true);
  bytes.set(payload, 4);
  return bytes;
}

export function concat(parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const all = new Uint8Array(parts.reduce((sum, part) => sum + part.byteLength, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.byteLength;
  }
  return all;
}

/** Cuts `bytes` into chunks of the given sizes, over and over; each has memory of its own, as `node:net` delivers them. */
export function cut(bytes: Uint8Array, sizes: readonly number[]): Uint8Array<ArrayBuffer>[] {
  const chunks: Uint8Array<ArrayBuffer>[] = [];
  let at = 0;
  for (let i = 0; at < bytes.byteLength; i++) {
    const size = sizes[i % sizes.length] ?? 1;
    chunks.push(bytes.slice(at, at + size));
    at += size;
  }
  return chunks;
}

/** Bytes that differ by position, so that a shifted copy shows. */
export function pattern(byteLength: number, seed = 0): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(byteLength);
  for (let i = 0; i < byteLength; i++) bytes[i] = (i * 31 + (i >>> 8) * 7 + seed) & 0xff;
  return bytes;
}

/** Comparing thousands of large arrays element by element takes seconds, and a difference fills the screen. */
export function digest(bytes: Uint8Array): string {
  return `${bytes.byteLength} ${createHash('sha1').update(bytes).digest('hex')}`;
}
