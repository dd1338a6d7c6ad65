/**
 * The data lane of one channel, sending: what finds no room waits in one queue, in order, and what is larger than a quarter of the
 * window goes out in fragments, one fragmented message at a time.
 */
import type { Channel } from './channel.ts';
import { Deque } from './deque.ts';
import { ProtocolError } from './errors.ts';
import { align8, FLAG_EXTENSION, FLAG_MORE, HEADER_BYTES, TOTAL_BYTES } from './frame.ts';

/** A message that waits for room. The lane reads the fields when its turn comes. */
export interface LaneEntry {
  readonly kind: number;
  /** The wire id; `begin` may still set it. */
  readonly id: number;
  readonly payload: Uint8Array;
  /** An encoded extension block, padded to 8 bytes. */
  readonly extension: Uint8Array | undefined;
  /** Just before the first byte goes out. False: the entry is dead and skipped. */
  begin(): boolean;
  /** The last byte went out. */
  sent(): void;
}

const NO_BYTES: Uint8Array = new Uint8Array(0);

/** What a peer must take at once: the smallest window has twice of it. */
const MIN_CAPACITY_BYTES = 4096;

/** Throws {@link ProtocolError} when the peer's window is so small that not even an error passes. */
export function expectCapacity(channel: Channel): void {
  if (channel.framing === 'plain' || channel.capacityBytes >= MIN_CAPACITY_BYTES) return;
  void channel.close('protocol');
  throw new ProtocolError(
    `Expected a peer that takes ${MIN_CAPACITY_BYTES} bytes at once, got one that takes ${channel.capacityBytes}`,
  );
}

/** The largest message that the peer takes; undefined: it did not say. */
export function limitOfPeer(channel: Channel): number | undefined {
  // Plain framing knows no fragments: what does not fit at once never passes.
  return channel.framing === 'plain' ? channel.capacityBytes : channel.hello?.maxMessageBytes;
}

export class DataLane {
  /** The largest payload that goes out in one piece. */
  readonly pieceBytes: number;
  /** Of what is larger, so much goes out at once: four of them, with their headers, find room. */
  readonly #fragmentBytes: number;
  readonly #channel: Channel;
  readonly #queue = new Deque<LaneEntry>();
  /** The entry whose fragments are going out; its `begin` has been called. */
  #current: LaneEntry | undefined;
  /** Payload bytes of `#current` that are out; -1 before the opening fragment. */
  #offset = -1;
  #queuedBytes = 0;
  #flushing = false;

  constructor(channel: Channel) {
    this.#channel = channel;
    const { capacityBytes } = channel;
    this.#fragmentBytes = quarterOf(capacityBytes);
    // Plain channels know no fragments: there a frame is a whole message, up to the capacity. Others have a quarter of all that the peer keeps for
    // us, headers included: a power of two where rings are, as large messages often are.
    this.pieceBytes = channel.framing === 'plain' ? capacityBytes : quarterOf(capacityBytes + HEADER_BYTES);
  }

  /** Nothing waits: a send may go straight to the channel. */
  get idle(): boolean {
    return this.#current === undefined && this.#queue.length === 0;
  }

  /** Payload bytes that wait. */
  get queuedBytes(): number {
    return this.#queuedBytes;
  }

  /** Sends now, or returns false: others wait, it needs fragments, or there is no room. */
  trySend(kind: number, id: number, payload: Uint8Array): boolean {
    return (
      this.#current === undefined &&
      this.#queue.length === 0 &&
      payload.length <= this.pieceBytes &&
      this.#channel.trySend('data', kind, id, 0, payload)
    );
  }

  /** Sends now or queues. The entry's payload must stay unchanged until `sent`. */
  push(entry: LaneEntry): void {
    this.#queuedBytes += entry.payload.length;
    this.#queue.push(entry);
    this.flush();
  }

  /** As {@link push}, before all that waits: what must directly follow an abandoned message. */
  pushFirst(entry: LaneEntry): void {
    this.#queuedBytes += entry.payload.length;
    this.#queue.unshift(entry);
    this.flush();
  }

  /** Sends what fits. To be called on room. */
  flush(): void {
    // `sent` may push more, and may be called from a flush: one loop is enough.
    if (this.#flushing) return;
    this.#flushing = true;
    try {
      for (;;) {
        if (this.#current !== undefined) {
          if (!this.#sendFragments(this.#current)) return;
          continue;
        }
        const entry = this.#queue.peek();
        if (entry === undefined) return;
        if (!entry.begin()) {
          this.#queue.shift();
          this.#queuedBytes -= entry.payload.length;
          continue;
        }
        const extension = entry.extension;
        if ((extension?.length ?? 0) + entry.payload.length > this.pieceBytes) {
          this.#queue.shift();
          this.#current = entry;
          this.#offset = -1;
          continue;
        }
        if (!this.#sendWhole(entry, extension)) return;
        this.#queue.shift();
        this.#queuedBytes -= entry.payload.length;
        entry.sent();
      }
    } finally {
      this.#flushing = false;
    }
  }

  /** The entry of which a part is out. */
  get sending(): LaneEntry | undefined {
    return this.#offset >= 0 ? this.#current : undefined;
  }

  /** Whether fragments of this entry are out, and not all. */
  isSending(entry: LaneEntry): boolean {
    return this.#current === entry && this.#offset >= 0;
  }

  /** Takes out an entry of which no byte was sent. False when it is not here, or bytes of it are out. */
  remove(entry: LaneEntry): boolean {
    if (this.#current === entry && this.#offset < 0) this.#current = undefined;
    else if (!this.#queue.remove(entry)) return false;
    this.#queuedBytes -= entry.payload.length;
    return true;
  }

  /** Stops an entry whose fragments are going out. The caller tells the peer, by a cancel or an error of its id. */
  abandon(entry: LaneEntry): void {
    if (this.#current !== entry) return;
    this.#queuedBytes -= entry.payload.length;
    this.#current = undefined;
  }

  /** Takes out everything of which no byte was sent, in order. For a channel that is gone. */
  takeUnsent(): LaneEntry[] {
    const unsent = this.#queue.drain();
    if (this.#current !== undefined && this.#offset < 0) unsent.unshift(this.#current);
    this.#current = undefined;
    this.#queuedBytes = 0;
    return unsent;
  }

  #sendWhole(entry: LaneEntry, extension: Uint8Array | undefined): boolean {
    if (extension === undefined) return this.#channel.trySend('data', entry.kind, entry.id, 0, entry.payload);
    return this.#channel.trySend('data', entry.kind, entry.id, FLAG_EXTENSION, concat(extension, entry.payload));
  }

  /** False when the channel has no room now. */
  #sendFragments(entry: LaneEntry): boolean {
    const { kind, id, payload } = entry;
    if (this.#offset < 0) {
      const extension = entry.extension;
      // The opening fragment has the total and the extension alone, so that the payload is never copied to be sent.
      const opening = new Uint8Array(TOTAL_BYTES);
      new DataView(opening.buffer).setUint32(0, payload.length, true);
      const flags = FLAG_MORE | (extension === undefined ? 0 : FLAG_EXTENSION);
      if (!this.#channel.trySend('data', kind, id, flags, concat(opening, extension ?? NO_BYTES))) return false;
      this.#offset = 0;
    }
    while (this.#current === entry) {
      const end = Math.min(this.#offset + this.#fragmentBytes, payload.length);
      const last = end === payload.length;
      const piece = payload.subarray(this.#offset, end);
      if (!this.#channel.trySend('data', kind, id, last ? 0 : FLAG_MORE, piece)) return false;
      this.#offset = end;
      if (last) {
        this.#current = undefined;
        this.#queuedBytes -= payload.length;
        entry.sent();
      }
    }
    return true;
  }
}

/** In whole words of 8 bytes, and at least one. */
function quarterOf(bytes: number): number {
  return Math.max(8, Math.floor(bytes / 4) & ~7);
}

/** `head` is a multiple of 8 bytes long. */
function concat(head: Uint8Array, tail: Uint8Array): Uint8Array {
  const joined = new Uint8Array(align8(head.byteLength) + tail.byteLength);
  joined.set(head);
  joined.set(tail, align8(head.byteLength));
  return joined;
}
