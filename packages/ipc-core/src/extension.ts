/**
 * The extension block of a frame: u16 size of the fields, then `u8 type, u8 reserved, u16 length, value` each. It is padded to 8 bytes
 * before the payload.
 */
import { ProtocolError } from './errors.ts';
import { align8 } from './frame.ts';

const FIELD_DEADLINE = 1;
const FIELD_TRACEPARENT = 2;
const FIELD_METADATA = 3;

/** The largest encoded metadata. */
export const MAX_METADATA_BYTES = 1024;

/** The key under which metadata carries a W3C traceparent; it has a field of its own on the wire. */
export const TRACEPARENT_KEY = 'traceparent';

export interface Extension {
  /** Milliseconds that remain. */
  readonly deadlineMs: number | undefined;
  readonly metadata: ReadonlyMap<string, string> | undefined;
}

const utf8 = new TextEncoder();
const fromUtf8 = new TextDecoder('utf-8', { fatal: true });

/** Encodes the block, padded to 8 bytes. Throws RangeError when the metadata is over 1 KiB encoded. */
export function encodeExtension(extension: Extension): Uint8Array {
  const fields: Array<readonly [type: number, value: Uint8Array]> = [];
  if (extension.deadlineMs !== undefined) {
    const value = new Uint8Array(4);
    new DataView(value.buffer).setUint32(0, Math.max(0, Math.ceil(extension.deadlineMs)), true);
    fields.push([FIELD_DEADLINE, value]);
  }
  if (extension.metadata !== undefined) {
    const rest = new Uint8Array(MAX_METADATA_BYTES);
    const view = new DataView(rest.buffer);
    let at = 0;
    let total = 0;
    for (const [key, value] of extension.metadata) {
      if (typeof key !== 'string' || typeof value !== 'string') {
        throw new TypeError(`Expected \`metadata\` to map strings to strings, got ${typeof key} to ${typeof value}`);
      }
      if (key === TRACEPARENT_KEY) {
        const encoded = utf8.encode(value);
        total += encoded.byteLength;
        fields.push([FIELD_TRACEPARENT, encoded]);
        continue;
      }
      for (const text of [key, value]) {
        const encoded = utf8.encode(text);
        total += 2 + encoded.byteLength;
        if (total <= MAX_METADATA_BYTES) {
          view.setUint16(at, encoded.byteLength, true);
          rest.set(encoded, at + 2);
          at += 2 + encoded.byteLength;
        }
      }
    }
    if (total > MAX_METADATA_BYTES) {
      throw new RangeError(`Expected \`metadata\` to have at most ${MAX_METADATA_BYTES} bytes encoded, got ${total}`);
    }
    if (at > 0) fields.push([FIELD_METADATA, rest.subarray(0, at)]);
  }
  let size = 0;
  for (const [, value] of fields) size += 4 + value.byteLength;
  const block = new Uint8Array(align8(2 + size));
  const view = new DataView(block.buffer);
  view.setUint16(0, size, true);
  let at = 2;
  for (const [type, value] of fields) {
    block[at] = type;
    view.setUint16(at + 2, value.byteLength, true);
    block.set(value, at + 4);
    at += 4 + value.byteLength;
  }
  return block;
}

/** Decodes the block at the start of `bytes`; `byteLength` is where the payload begins. Throws {@link ProtocolError}. */
export function decodeExtension(bytes: Uint8Array): Extension & { readonly byteLength: number } {
  if (bytes.byteLength < 2) throw new ProtocolError('Expected an extension block, got a frame without room for one');
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const end = 2 + view.getUint16(0, true);
  const byteLength = align8(end);
  if (byteLength > bytes.byteLength) {
    throw new ProtocolError(
      `Expected an extension block inside its frame of ${bytes.byteLength} bytes, got ${byteLength}`,
    );
  }
  let deadlineMs: number | undefined;
  let metadata: Map<string, string> | undefined;
  let at = 2;
  while (at < end) {
    if (at + 4 > end) throw new ProtocolError('Expected a whole extension field, got its first bytes');
    const type = bytes[at];
    const size = view.getUint16(at + 2, true);
    at += 4;
    if (at + size > end) throw new ProtocolError(`Expected an extension field inside its block, got ${size} bytes`);
    const value = bytes.subarray(at, at + size);
    if (type === FIELD_DEADLINE) {
      if (size !== 4) throw new ProtocolError(`Expected a deadline of 4 bytes, got ${size}`);
      deadlineMs = view.getUint32(at, true);
    } else if (type === FIELD_TRACEPARENT) {
      (metadata ??= new Map()).set(TRACEPARENT_KEY, decodeText(value));
    } else if (type === FIELD_METADATA) {
      if (size > MAX_METADATA_BYTES) {
        throw new ProtocolError(`Expected metadata of at most ${MAX_METADATA_BYTES} bytes, got ${size}`);
      }
      decodeMetadata(value, (metadata ??= new Map<string, string>()));
    }
    at += size;
  }
  return { deadlineMs, metadata, byteLength };
}

function decodeMetadata(bytes: Uint8Array, into: Map<string, string>): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let at = 0;
  const next = (): string => {
    if (at + 2 > bytes.byteLength) throw new ProtocolError('Expected whole metadata, got a part');
    const size = view.getUint16(at, true);
    at += 2;
    if (at + size > bytes.byteLength) throw new ProtocolError('Expected whole metadata, got a part');
    const text = decodeText(bytes.subarray(at, at + size));
    at += size;
    return text;
  };
  while (at < bytes.byteLength) {
    const key = next();
    into.set(key, next());
  }
}

function decodeText(bytes: Uint8Array): string {
  try {
    return fromUtf8.decode(bytes);
  } catch (cause) {
    throw new ProtocolError('Expected UTF-8 text in an extension field, got other bytes', { cause });
  }
}
