/**
 * Frames on the wire: an 8-byte little-endian header and what follows it.
 *
 * ```text
 *  u32  bits 0-29  length of all that follows this header
 *       bit  30    an extension block comes first
 *       bit  31    a fragment: more follow
 *  u32  bits 0-27  wire id
 *       bits 28-31 kind
 * ```
 *
 * What follows, each part padded to 8 bytes but the last: `[u32 total, u32 0]` (first fragment only), the extension,
 * the payload. docs/protocol.md has the whole format.
 */

/** The kinds of frames; 11 to 15 are reserved. */
export const KIND_REQUEST = 0;
export const KIND_STREAM_REQUEST = 1;
export const KIND_DUPLEX_REQUEST = 2;
export const KIND_ONE_WAY = 3;
export const KIND_RESPONSE = 4;
export const KIND_ITEM = 5;
export const KIND_END = 6;
export const KIND_ERROR = 7;
export const KIND_CANCEL = 8;
export const KIND_GOAWAY = 9;
export const KIND_CREDIT = 10;

/** Frame flags, as `Channel.trySend` and `Frame.flags` have them. */
export const FLAG_EXTENSION = 1;
export const FLAG_MORE = 2;
/**
 * Never on the wire: this control frame overtook data frames that the peer sent before it. The same frame is delivered
 * once more, with {@link FLAG_IN_PLACE}, when those have been delivered.
 */
export const FLAG_OVERTAKING = 4;
/** Never on the wire: the second delivery of a control frame that had overtaken data. */
export const FLAG_IN_PLACE = 8;

export const HEADER_BYTES = 8;
export const MAX_LENGTH: number = 2 ** 30 - 1;
export const MAX_WIRE_ID: number = 2 ** 28 - 1;
/** The largest payload of a control frame. */
export const MAX_CONTROL_BYTES = 64;
/** The first fragment opens with `[u32 total, u32 0]`. */
export const TOTAL_BYTES = 8;

/** The first u32 of a header. `flags` may hold only FLAG_EXTENSION and FLAG_MORE. */
export function packLength(length: number, flags: number): number {
  return (length | (flags << 30)) >>> 0;
}

/** The second u32 of a header. */
export function packKindAndId(kind: number, id: number): number {
  return ((kind << 28) | id) >>> 0;
}

/** What a data frame of `length` bytes behind its header costs of a window. */
export function chargeOf(length: number): number {
  return length < 56 ? 64 : HEADER_BYTES + length;
}

/** `bytes`, rounded up to a multiple of 8. */
export function align8(bytes: number): number {
  return (bytes + 7) & ~7;
}

/** Whether frames of this kind travel in the control lane. */
export function isControl(kind: number): boolean {
  return kind >= KIND_CANCEL;
}
