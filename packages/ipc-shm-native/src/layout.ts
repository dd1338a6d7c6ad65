/**
 * The layout of a segment: the twin of `native/ring/layout.hpp`, which has the diagram. A test compares the two. This is the
 * only TypeScript file that knows an offset.
 */
import type { Memory } from './addon.ts';

export const RECORD_ALIGNMENT = 8;
export const RECORD_HEADER_BYTES = 8;
/** Of the first header word: the other two bits are flags. */
export const RECORD_LENGTH_MASK = 0x3fff_ffff;

export const MIN_RING_BYTES = 8192;
export const MAX_RING_BYTES: number = 2 ** 30;
export const CONTROL_PREFIX_BYTES = 8;
export const MAX_CONTROL_PAYLOAD_BYTES = 64;

/** What `what` of a batch's entry says besides the slot. */
export const CONTROL_LANE: number = 1 << 30;
export const EVENT_BIT: number = 1 << 29;
export const SLOT_MASK: number = EVENT_BIT - 1;

/** Where a hub copies small payloads to: a place for each of the first entries of a batch. */
export const COPY_PLACE_BYTES = 128;
export const COPY_PLACES = 64;

export const EVENT_ACCEPTED = 1;
export const EVENT_READABLE = 2;
export const EVENT_CLOSED = 3;
export const EVENT_VIOLATED = 4;
export const EVENT_ROOM = 5;
export const EVENT_REFUSED = 6;
export const EVENT_DEAF = 7;

const LINE_BYTES = 128;
const CONTROL_BLOCK_LINES = 6;

/** Words of the control block, as indices of an Int32Array over it. */
export interface SideWords {
  readonly dataHeadOut: number;
  readonly controlHeadOut: number;
  readonly dataTailOut: number;
  readonly controlTailOut: number;
  readonly dataHeadIn: number;
  readonly dataTailIn: number;
  readonly peerWaitingData: number;
  readonly peerWaitingSpace: number;
}

const wordOf = (line: number, byte: number): number => (line * LINE_BYTES + byte) / 4;

const REQUEST_PRODUCER = 0;
const REQUEST_CONSUMER = 1;
const RESPONSE_PRODUCER = 2;
const RESPONSE_CONSUMER = 3;
const SERVER = 4;
const CLIENT = 5;

const DATA = 0;
const CONTROL = 4;
const WAITING_DATA = 0;
const WAITING_SPACE = 4;

function side(producer: number, consumer: number, readsFrom: number, reads: number, peer: number): SideWords {
  return {
    dataHeadOut: wordOf(producer, DATA),
    controlHeadOut: wordOf(producer, CONTROL),
    dataTailOut: wordOf(consumer, DATA),
    controlTailOut: wordOf(consumer, CONTROL),
    dataHeadIn: wordOf(readsFrom, DATA),
    dataTailIn: wordOf(reads, DATA),
    peerWaitingData: wordOf(peer, WAITING_DATA),
    peerWaitingSpace: wordOf(peer, WAITING_SPACE),
  };
}

export const SERVER_WORDS: SideWords = side(
  RESPONSE_PRODUCER,
  RESPONSE_CONSUMER,
  REQUEST_PRODUCER,
  REQUEST_CONSUMER,
  CLIENT,
);
export const CLIENT_WORDS: SideWords = side(
  REQUEST_PRODUCER,
  REQUEST_CONSUMER,
  RESPONSE_PRODUCER,
  RESPONSE_CONSUMER,
  SERVER,
);

export const CONTROL_BLOCK_WORDS: number = (CONTROL_BLOCK_LINES * LINE_BYTES) / 4;

/** Where the areas of a mapping start. Every ring is there twice, back to back. */
export interface Areas {
  readonly requestControl: number;
  readonly responseControl: number;
  readonly request: number;
  readonly response: number;
  readonly bytes: number;
}

export function areasOf(memory: Memory): Areas {
  const requestControl = memory.pageBytes;
  const responseControl = requestControl + 2 * memory.controlRingBytes;
  const request = responseControl + 2 * memory.controlRingBytes;
  const response = request + 2 * memory.requestRingBytes;
  return { requestControl, responseControl, request, response, bytes: response + 2 * memory.responseRingBytes };
}

/** What a payload of that many bytes takes in its ring. */
export function recordBytes(payloadBytes: number): number {
  return RECORD_HEADER_BYTES + ((payloadBytes + (RECORD_ALIGNMENT - 1)) & -RECORD_ALIGNMENT);
}
