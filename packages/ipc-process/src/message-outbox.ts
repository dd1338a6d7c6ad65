/** Whole messages onto the data lane of a channel, in order: one message, one frame (or its fragments). */
import { DataLane, KIND_ONE_WAY, KIND_REQUEST, KIND_RESPONSE, type Channel, type LaneEntry } from '@spanwire/ipc-core';
import { encode } from './codec.ts';
import { encodeTag, type OverloadedTag, type TooLargeTag } from './tags.ts';
import { traffic } from './traffic.ts';

/** The wire id says whether a message has tagged nodes in it. */
const ID_PLAIN = 0;
export const ID_TAGGED = 1;
/** Substitutes for messages that were kept back are small, but a peer that does not read could make many of them. */
const SUBSTITUTE_BYTES: number = 1024 * 1024;

/** The message that asks the peer to fail a call whose own message was kept back: a call of this method of its main object. */
export const FAIL_METHOD = 'fail';

/** As capnweb makes them: a type, and what it concerns. */
export type Message = readonly unknown[];

export interface OutboxLimits {
  readonly maxMessageBytes: number;
  readonly maxQueuedBytes: number;
}

export class MessageOutbox {
  readonly #lane: DataLane;
  readonly #maxMessageBytes: number;
  readonly #maxQueuedBytes: number;
  readonly #pulled: Set<unknown>;
  readonly #onStalled: () => void;

  /** Keeps the calls in `pulled` whose answer it asked for. Calls `onStalled` when the peer takes nothing, not even what is said instead. */
  constructor(channel: Channel, limits: OutboxLimits, pulled: Set<unknown>, onStalled: () => void) {
    this.#lane = new DataLane(channel);
    // Both sides check, so the smaller limit counts.
    this.#maxMessageBytes = Math.min(limits.maxMessageBytes, channel.hello?.maxMessageBytes ?? limits.maxMessageBytes);
    this.#maxQueuedBytes = limits.maxQueuedBytes;
    this.#pulled = pulled;
    this.#onStalled = onStalled;
  }

  /** Whether everything that was sent is on its way. */
  get idle(): boolean {
    return this.#lane.idle;
  }

  /** Goes on with what waits, when there is room. */
  flush(): void {
    this.#lane.flush();
  }

  /** Lets go of what waits. */
  close(): void {
    this.#lane.takeUnsent();
  }

  /** Sends `message`, or what makes only that call fail. Returns the bytes it took. */
  send(message: Message, tagged: boolean): number {
    const id = tagged ? ID_TAGGED : ID_PLAIN;
    const bytes = encode(message);
    const byteLength = bytes.byteLength;
    if (byteLength > this.#maxMessageBytes) {
      return this.#substitute(message, bytes, id, ['too-large', byteLength, this.#maxMessageBytes]);
    }
    const queuedBytes = this.#lane.queuedBytes;
    if (queuedBytes > 0 && queuedBytes + byteLength > this.#maxQueuedBytes) {
      return this.#substitute(message, bytes, id, ['overloaded']);
    }
    return this.#sendBytes(message, bytes, id);
  }

  #substitute(message: Message, bytes: Uint8Array, id: number, tag: TooLargeTag | OverloadedTag): number {
    if (this.#lane.queuedBytes > this.#maxQueuedBytes + SUBSTITUTE_BYTES) {
      this.#onStalled();
      return 0;
    }
    const [type, target] = message;
    const encodedTag = encodeTag(tag);
    if (type === 'push' || type === 'stream') {
      const call = [type, ['pipeline', 0, [FAIL_METHOD], [['bytes', encodedTag]]]];
      return this.#sendBytes(call, encode(call), ID_PLAIN);
    }
    if (type === 'resolve' || type === 'reject') {
      const answer = ['reject', target, ['error', encodedTag, '']];
      return this.#sendBytes(answer, encode(answer), ID_TAGGED);
    }
    // The rest is small, and both sides count on it.
    return this.#sendBytes(message, bytes, id);
  }

  #sendBytes(message: Message, bytes: Uint8Array, id: number): number {
    const [type, target] = message;
    // The kind says whether an answer follows, or this is one: some transports wait in another way then.
    let kind = KIND_ONE_WAY;
    if (type === 'pull') {
      this.#pulled.add(target);
      kind = KIND_REQUEST;
    } else if (type === 'stream') kind = KIND_REQUEST;
    else if (type === 'resolve' || type === 'reject') kind = KIND_RESPONSE;
    else if (type === 'release') this.#pulled.delete(target);
    traffic.sentBytes += bytes.byteLength;
    if (!this.#lane.trySend(kind, id, bytes)) this.#lane.push(new QueuedMessage(kind, id, bytes));
    return bytes.byteLength;
  }
}

class QueuedMessage implements LaneEntry {
  readonly kind: number;
  readonly id: number;
  readonly payload: Uint8Array;
  readonly extension = undefined;

  constructor(kind: number, id: number, payload: Uint8Array) {
    this.kind = kind;
    this.id = id;
    this.payload = payload;
  }

  begin(): boolean {
    return true;
  }

  sent(): void {}
}
