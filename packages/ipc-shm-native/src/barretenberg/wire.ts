/** The native side of one connection in this layout, typed. `../addon.ts` loads it. */
import { IpcError } from '@spanwire/ipc-core';
import { addon, type HubOptions } from '../addon.ts';

export interface WireOptions {
  readonly name: string;
  /** The server makes the two objects; the client opens them. */
  readonly side: 'server' | 'client';
  /** Of the server; the client finds what there is. */
  readonly requestRingBytes: number;
  readonly responseRingBytes: number;
  /** How long to spin after the last message before sleeping; 0: never. */
  readonly spinMicros: number;
  /** The longest stretch of work before the event loop gets a full turn. */
  readonly workLimitMicros: number;
  readonly wakesBy: HubOptions['wakesBy'];
  /** Called with the number of messages in `batch`. */
  readonly onBatch: (count: number) => void;
  /** Called with one of the EVENT_ numbers; in blocking form, without, whenever a long wait goes on. */
  readonly onEvent: (event: number) => void;
}

/** Index in {@link Wire.state}: 1 while a turn runs or is due, 0 asleep. Read only. */
export const STATE_AWAKE = 0;
/** Index in {@link Wire.state}: not 0 while spinning may pay, since a message may come. Written here. */
export const STATE_EXPECTING = 1;
/** Index in {@link Wire.state}: not 0 leaves messages in the ring. Written here; `kick` after it becomes 0. */
export const STATE_PAUSED = 2;
/** Index in {@link Wire.state}: how much of the chunk holds messages. */
export const STATE_CHUNK_USED = 3;

/** Index in {@link Wire.state}: 0: who expects an answer must `kick`, so that the ring is looked after meanwhile. Read only. */
export const STATE_GUARDED = 4;

export const EVENT_ROOM = 1;
/** The peer's process ended; all that it sent was delivered. */
export const EVENT_GONE = 2;
/** The peer said that it leaves; all that it sent was delivered. */
export const EVENT_LEFT = 3;
export const EVENT_BROKEN = 4;

/** Messages up to this size come in the chunk, larger ones by `takeLarge`. */
export const LARGE_BYTES: number = 8 * 1024;

/** What `request` returns instead of an answer. */
export const NEVER_SENT = -1;
export const NO_ANSWER = -2;
export const PEER_IS_GONE = -3;

/** One connection. Failures are thrown as {@link NativeFailure}s. */
export interface Wire {
  /** Pairs of offset in the chunk and length; an offset of -1: large, and the last of its batch. */
  readonly batch: Int32Array<ArrayBuffer>;
  readonly state: Int32Array<ArrayBuffer>;
  /** The largest payload that can be sent. */
  readonly largestOut: number;
  /** The size of the ring that is read. */
  readonly capacityIn: number;

  /** 1 sent, 0 no room now, -1 the peer broke a ring or the connection is over. */
  send(payload: Uint8Array): number;
  /** Where messages are copied to from now on. */
  useChunk(chunk: Uint8Array): void;
  /** Takes the large message that the last batch ended with, into bytes of exactly its length. */
  takeLarge(into: Uint8Array): void;
  /** Takes what is there, without waiting: the number of messages in `batch`. */
  collect(): number;
  /** Something changed: look at it soon. */
  kick(): void;
  /** True: a payload of that size fits now. Else EVENT_ROOM comes once it does. */
  wantRoom(payloadBytes: number): boolean;
  /** Blocks for the answer: its length, in `scratch`; or its bytes, when they do not fit there; or one of the numbers above. */
  request(payload: Uint8Array, scratch: Uint8Array, timeoutMs: number): number | Uint8Array<ArrayBuffer>;
  /** Watches that process, or with 0 the one that is found: ESRCH when there is none, EBUSY when a client finds several. */
  findPeer(pid: number): { readonly pid: number; readonly uid: number };
  /** A client's question before its first message: is nothing of an earlier client under way? */
  settle(): boolean;
  /** Whether the server, once settled, waits for room as long as it takes. Ours does. */
  peerWaits(): boolean;
  /** Whether nobody else has the objects. */
  abandoned(): boolean;
  /** A server is ready for another client on the same objects, if the last one left nothing behind. */
  reuse(): boolean;
  /** A server's names are free for others; the connection lives on. */
  removeNames(): void;
  /** What the peer broke. */
  fault(): string;
  ref(): void;
  unref(): void;
  /** Says farewell, removes the names that are ours, and calls back no more. Idempotent. */
  close(): void;
}

interface WithBarretenberg {
  /** Missing where the platform has no such objects. */
  readonly createBarretenberg?: (options: WireOptions) => Wire;
}

export function createWire(options: WireOptions): Wire {
  const { createBarretenberg } = addon() as WithBarretenberg;
  if (createBarretenberg === undefined) {
    throw new IpcError('ERR_IPC_UNSUPPORTED', `Expected Linux for the barretenberg layout, got ${process.platform}`);
  }
  return createBarretenberg(options);
}
