import { Packr } from 'msgpackr';

/** Two functions between values and bytes. `decode` throws on bytes that it does not understand. */
export interface Codec<T> {
  readonly encode: (value: T) => Uint8Array;
  /** The result must not use `bytes` after it returned, unless the codec says that it borrows them. */
  readonly decode: (bytes: Uint8Array) => T;
}

/** Bytes as they are. The decoded value is the request's own span: borrowed until the answer. */
export const raw: Codec<Uint8Array> = {
  encode: (value) => value,
  decode: (bytes) => bytes,
};

const utf8Encoder = new TextEncoder();
const utf8Decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** Text as UTF-8, strictly: malformed bytes are refused, and a byte order mark is a part of the text. */
export const utf8: Codec<string> = {
  encode: (value) => utf8Encoder.encode(value),
  decode: (bytes) => utf8Decoder.decode(bytes),
};

/** JSON as UTF-8. What JSON cannot say (undefined, functions, cycles, bigint) is refused by `encode`. */
export const json: Codec<unknown> = {
  encode: (value) => {
    const text: string | undefined = JSON.stringify(value);
    if (text === undefined) throw new TypeError(`Expected a value that JSON can express, got ${typeof value}`);
    return utf8Encoder.encode(text);
  },
  decode: (bytes) => JSON.parse(utf8Decoder.decode(bytes)) as unknown,
};

// Records would make bytes depend on what was sent before; binary parts are copied, since the bytes are borrowed.
const packr = new Packr({ useRecords: false, copyBuffers: true, moreTypes: false });

/** MessagePack, by msgpackr. Binary parts are copies. */
export const msgpack: Codec<unknown> = {
  // The encoder works in a buffer of its own that the next call may reuse.
  encode: (value) => new Uint8Array(packr.pack(value)),
  decode: (bytes) => packr.unpack(bytes) as unknown,
};

/** `codec` with a narrower type, on the caller's word that the other side sends such values. */
export function typed<T>(codec: Codec<unknown>): Codec<T> {
  return codec as Codec<T>;
}
