/**
 * The hello that opens sockets and the shared-memory rendezvous, the client first.
 *
 * ```text
 *  8 bytes  magic; its first u32 is at least 2^30, so that no plain length collides with it
 *  u16      version
 *  u16      flags (0)
 *  u32      length of the fields
 *  fields   u16 type, u16 length, value; unknown types are ignored
 * ```
 */
import type { Bytes } from './contract.ts';
import { IpcError, isIpcErrorCode, ProtocolError, type IpcErrorCode } from './errors.ts';

/** The first u32 of the magic, as a number: what tells a Spanwire peer from a plain one. */
export const MAGIC_WORD = 0x7753_50f5;
const MAGIC: Uint8Array = Uint8Array.of(0xf5, 0x50, 0x53, 0x77, 0x69, 0x72, 0x65, 0x0a);

export const PROTOCOL_VERSION = 1;
export const HELLO_HEADER_BYTES = 16;
/** The largest application bytes of a hello. */
export const MAX_HELLO_APPLICATION_BYTES: number = 16 * 1024;
/** The largest hello a side accepts, fields of later versions included. */
export const MAX_HELLO_BYTES: number = 32 * 1024;

const FIELD_WINDOW = 1;
const FIELD_STREAM_WINDOW = 2;
const FIELD_MAX_MESSAGE = 3;
const FIELD_CAPABILITIES = 4;
const FIELD_APPLICATION = 5;
const FIELD_TAKEOVER = 6;
const FIELD_REFUSAL = 7;

const CAPABILITY_PUSHES = 1;
const CAPABILITY_STREAMS = 2;

/** What a side says of itself. */
export interface Hello {
  /** Bytes of data frames that this side takes unreleased. */
  readonly windowBytes: number;
  /** Bytes of items that this side takes per stream before it gives credit. */
  readonly streamWindowBytes: number;
  readonly maxMessageBytes: number;
  /** Takes one-way messages from a server. */
  readonly pushes: boolean;
  /** Takes streams of items. */
  readonly streams: boolean;
  /** Opaque bytes of the application, at most 16 KiB. */
  readonly application?: Bytes | undefined;
  /** A server that takes the address over. */
  readonly takeover?: boolean | undefined;
  /** A server that refuses this connection, and why. */
  readonly refusal?: { readonly code: IpcErrorCode; readonly message: string } | undefined;
}

/** A hello that was received. */
export interface PeerHello extends Hello {
  readonly version: number;
}

const utf8 = new TextEncoder();
const fromUtf8 = new TextDecoder();

/** Encodes a hello of this protocol version. Throws RangeError when the application bytes are too large. */
export function encodeHello(hello: Hello): Bytes {
  const application = hello.application;
  if (application !== undefined && application.byteLength > MAX_HELLO_APPLICATION_BYTES) {
    throw new RangeError(
      `Expected \`hello\` to have at most ${MAX_HELLO_APPLICATION_BYTES} bytes, got ${application.byteLength}`,
    );
  }
  const fields: Array<readonly [type: number, value: Uint8Array]> = [
    [FIELD_WINDOW, u32(hello.windowBytes)],
    [FIELD_STREAM_WINDOW, u32(hello.streamWindowBytes)],
    [FIELD_MAX_MESSAGE, u32(hello.maxMessageBytes)],
    [FIELD_CAPABILITIES, u32((hello.pushes ? CAPABILITY_PUSHES : 0) | (hello.streams ? CAPABILITY_STREAMS : 0))],
  ];
  if (application !== undefined) fields.push([FIELD_APPLICATION, application]);
  if (hello.takeover === true) fields.push([FIELD_TAKEOVER, new Uint8Array(0)]);
  if (hello.refusal !== undefined) {
    const message = hello.refusal.message.slice(0, 1024);
    fields.push([FIELD_REFUSAL, utf8.encode(`${hello.refusal.code} ${message}`)]);
  }
  let length = 0;
  for (const [, value] of fields) length += 4 + value.byteLength;
  const bytes = new Uint8Array(HELLO_HEADER_BYTES + length);
  const view = new DataView(bytes.buffer);
  bytes.set(MAGIC);
  view.setUint16(8, PROTOCOL_VERSION, true);
  view.setUint32(12, length, true);
  let at = HELLO_HEADER_BYTES;
  for (const [type, value] of fields) {
    view.setUint16(at, type, true);
    view.setUint16(at + 2, value.byteLength, true);
    bytes.set(value, at + 4);
    at += 4 + value.byteLength;
  }
  return bytes;
}

/**
 * How many bytes the hello at the start of `bytes` has, or undefined while fewer than 16 have come. Throws
 * {@link ProtocolError} when it is no hello, or one over {@link MAX_HELLO_BYTES}.
 */
export function helloByteLength(bytes: Uint8Array): number | undefined {
  const known = Math.min(bytes.byteLength, MAGIC.byteLength);
  for (let i = 0; i < known; i++) {
    if (bytes[i] !== MAGIC[i]) {
      throw new ProtocolError(
        `Expected a hello that opens with the magic ${hex(MAGIC)}, got ${hex(bytes.subarray(0, known))}`,
      );
    }
  }
  if (bytes.byteLength < HELLO_HEADER_BYTES) return undefined;
  const length = new DataView(bytes.buffer, bytes.byteOffset).getUint32(12, true);
  if (HELLO_HEADER_BYTES + length > MAX_HELLO_BYTES) {
    throw new ProtocolError(`Expected a hello of at most ${MAX_HELLO_BYTES} bytes, got ${HELLO_HEADER_BYTES + length}`);
  }
  return HELLO_HEADER_BYTES + length;
}

/** Decodes one whole hello. Throws {@link ProtocolError} on broken fields and ERR_IPC_VERSION on another version. */
export function decodeHello(bytes: Uint8Array): PeerHello {
  const length = helloByteLength(bytes);
  if (length === undefined || length !== bytes.byteLength) {
    throw new ProtocolError(`Expected a hello of ${length ?? 'at least 16'} bytes, got ${bytes.byteLength}`);
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const version = view.getUint16(8, true);
  let windowBytes = 0;
  let streamWindowBytes = 0;
  let maxMessageBytes = 0;
  let capabilities = 0;
  let application: Bytes | undefined;
  let takeover = false;
  let refusal: Hello['refusal'];
  let at = HELLO_HEADER_BYTES;
  while (at < bytes.byteLength) {
    if (at + 4 > bytes.byteLength) throw new ProtocolError('Expected a whole field in the hello, got its first bytes');
    const type = view.getUint16(at, true);
    const size = view.getUint16(at + 2, true);
    at += 4;
    if (at + size > bytes.byteLength) {
      throw new ProtocolError(
        `Expected hello field ${type} to end inside the hello, got ${size} bytes with ${bytes.byteLength - at} left`,
      );
    }
    if (type <= FIELD_CAPABILITIES && type >= FIELD_WINDOW && size !== 4) {
      throw new ProtocolError(`Expected hello field ${type} to have 4 bytes, got ${size}`);
    }
    if (type === FIELD_WINDOW) windowBytes = view.getUint32(at, true);
    else if (type === FIELD_STREAM_WINDOW) streamWindowBytes = view.getUint32(at, true);
    else if (type === FIELD_MAX_MESSAGE) maxMessageBytes = view.getUint32(at, true);
    else if (type === FIELD_CAPABILITIES) capabilities = view.getUint32(at, true);
    else if (type === FIELD_APPLICATION) {
      if (size > MAX_HELLO_APPLICATION_BYTES) {
        throw new ProtocolError(
          `Expected a hello with at most ${MAX_HELLO_APPLICATION_BYTES} application bytes, got ${size}`,
        );
      }
      application = new Uint8Array(bytes.subarray(at, at + size));
    } else if (type === FIELD_TAKEOVER) takeover = true;
    else if (type === FIELD_REFUSAL) refusal = decodeRefusal(bytes.subarray(at, at + size));
    at += size;
  }
  // A refusal is understood whatever the version of the one who refuses: it is how versions are told.
  if (version !== PROTOCOL_VERSION && refusal === undefined) {
    throw new IpcError('ERR_IPC_VERSION', `Expected protocol version ${PROTOCOL_VERSION}, got ${version}`);
  }
  return {
    version,
    windowBytes,
    streamWindowBytes,
    maxMessageBytes,
    pushes: (capabilities & CAPABILITY_PUSHES) !== 0,
    streams: (capabilities & CAPABILITY_STREAMS) !== 0,
    application,
    takeover,
    refusal,
  };
}

/** The hello of a server that refuses a connection with `error`. */
export function refusalHello(error: IpcError): Hello {
  return {
    windowBytes: 0,
    streamWindowBytes: 0,
    maxMessageBytes: 0,
    pushes: false,
    streams: false,
    refusal: { code: error.code, message: error.message },
  };
}

/** The error that a refusing hello stands for. */
export function errorOfRefusal(refusal: NonNullable<Hello['refusal']>): IpcError {
  return new IpcError(refusal.code, `The server refused the connection: ${refusal.message}`);
}

function decodeRefusal(bytes: Uint8Array): NonNullable<Hello['refusal']> {
  const text = fromUtf8.decode(bytes);
  const space = text.indexOf(' ');
  const code = space < 0 ? text : text.slice(0, space);
  return {
    code: isIpcErrorCode(code) ? code : 'ERR_IPC_PROTOCOL',
    message: space < 0 ? '' : text.slice(space + 1),
  };
}

function u32(value: number): Uint8Array {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, value, true);
  return bytes;
}

function hex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join(' ');
}
