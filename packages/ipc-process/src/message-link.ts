/**
 * Carries the messages of one capnweb session over a {@link Channel}: one message, one frame (or its fragments). The wire id says whether the
 * message has tagged nodes in it. The kind says whether an answer follows, or this is one: some transports wait in another way then.
 */
import {
  DataLane,
  Deque,
  IpcError,
  isControl,
  KIND_ONE_WAY,
  KIND_REQUEST,
  KIND_RESPONSE,
  PeerGoneError,
  ProtocolError,
  type Channel,
  type DisconnectReason,
  type Frame,
  type LaneEntry,
  type ReassemblyBudget,
} from '@spanwire/ipc-core';
import type { RpcTransportWithCustomEncoding } from 'capnweb';
import { decode, encode } from './codec.ts';
import { MessageInbox } from './message-inbox.ts';
import type { EndOfLink } from './remote-observable.ts';
import { encodeTag, type OverloadedTag, type TooLargeTag } from './tags.ts';
import { traffic } from './traffic.ts';

const ID_PLAIN = 0;
const ID_TAGGED = 1;
/** Substitutes for messages that were kept back are small, but a peer that does not read could make many of them. */
const SUBSTITUTE_BYTES: number = 1024 * 1024;

export interface LinkOptions {
  readonly maxMessageBytes: number;
  readonly maxQueuedBytes: number;
  readonly graceMs: number;
  readonly budget: ReassemblyBudget;
  /** Replaces the tagged nodes of a message that has some. */
  readonly restore: (message: unknown) => unknown;
}

/** Why a link ended. */
export interface LinkEnd {
  readonly reason: DisconnectReason;
  /** Undefined after an orderly end. */
  readonly error: Error | undefined;
}

/** The message that asks the peer to fail a call whose own message was kept back: a call of this method of its main object. */
export const FAIL_METHOD = 'fail';

type Message = readonly unknown[];

export class MessageLink implements RpcTransportWithCustomEncoding, EndOfLink {
  readonly encodingLevel = 'jsonCompatibleWithBytes';
  /** Resolves when the channel is closed; never rejects. */
  readonly ended: Promise<LinkEnd>;
  /** Set while a message is encoded that has a tagged node. */
  tagged = false;
  readonly #channel: Channel;
  readonly #options: LinkOptions;
  readonly #lane: DataLane;
  readonly #inbox: MessageInbox;
  readonly #maxMessageBytes: number;
  readonly #received = new Deque<unknown>();
  readonly #onEnd = new Set<(error: Error) => void>();
  /** Calls whose answer was asked for and has not come. */
  readonly #pulled = new Set<unknown>();
  #receiver: { readonly resolve: (message: unknown) => void; readonly reject: (error: Error) => void } | undefined;
  /** What later calls fail with. Set as soon as nothing is sent any more. */
  #over: Error | undefined;
  #cause: Error | undefined;
  #closing: Promise<void> | undefined;
  #onDrained: (() => void) | undefined;
  #resolveEnded!: (end: LinkEnd) => void;

  constructor(channel: Channel, options: LinkOptions) {
    this.#channel = channel;
    this.#options = options;
    this.#lane = new DataLane(channel);
    this.#maxMessageBytes = Math.min(
      options.maxMessageBytes,
      channel.hello?.maxMessageBytes ?? options.maxMessageBytes,
    );
    this.#inbox = new MessageInbox(options.maxMessageBytes, options.budget, (id, bytes) => this.#take(id, bytes));
    this.ended = new Promise((resolve) => {
      this.#resolveEnded = resolve;
    });
    channel.onRoom = () => this.#onRoom();
    channel.onClosed = (reason, error) => this.#onClosed(reason, error);
    channel.onFrames = (frames) => this.#onFrames(frames);
  }

  send(message: unknown): number {
    const tagged = this.tagged;
    this.tagged = false;
    if (this.#over !== undefined) return 0;
    return this.#send(message as Message, tagged ? ID_TAGGED : ID_PLAIN);
  }

  receive(): Promise<unknown> {
    if (this.#received.length > 0) return Promise.resolve(this.#received.shift());
    if (this.#over !== undefined) return Promise.reject(this.#over);
    return new Promise((resolve, reject) => {
      this.#receiver = { resolve, reject };
    });
  }

  /** The session cannot go on: the peer broke its protocol. */
  abort(reason: unknown): void {
    if (this.#over !== undefined) return;
    const cause = reason instanceof Error ? reason : new Error(String(reason));
    void this.#close(new ProtocolError('The session broke', { cause }));
  }

  onEnd(callback: (error: Error) => void): () => void {
    if (this.#over !== undefined) {
      callback(this.#over);
      return () => undefined;
    }
    this.#onEnd.add(callback);
    return () => this.#onEnd.delete(callback);
  }

  /** Fails what is in flight, flushes what was sent, and closes the channel. Resolves when it is closed. */
  close(): Promise<void> {
    return this.#close(undefined);
  }

  ref(): void {
    this.#channel.ref();
  }

  unref(): void {
    this.#channel.unref();
  }

  #close(cause: Error | undefined): Promise<void> {
    return (this.#closing ??= this.#closeChannel(cause));
  }

  async #closeChannel(cause: Error | undefined): Promise<void> {
    this.#finish('ERR_IPC_CLOSED', cause);
    if (!this.#lane.idle) {
      await new Promise<void>((resolve) => {
        this.#onDrained = resolve;
        // A peer that does not read must not hold this up for ever.
        const timer = setTimeout(resolve, this.#options.graceMs);
        void this.ended.then(() => {
          clearTimeout(timer);
          resolve();
        });
      });
    }
    await this.#channel.close('closed');
    await this.ended;
  }

  /** Sends `message`, or what makes only that call fail. Returns the bytes it took. */
  #send(message: Message, id: number): number {
    const bytes = encode(message);
    const byteLength = bytes.byteLength;
    if (byteLength > this.#maxMessageBytes) {
      return this.#substitute(message, bytes, id, ['too-large', byteLength, this.#maxMessageBytes]);
    }
    const queuedBytes = this.#lane.queuedBytes;
    if (queuedBytes > 0 && queuedBytes + byteLength > this.#options.maxQueuedBytes) {
      return this.#substitute(message, bytes, id, ['overloaded']);
    }
    return this.#sendBytes(message, bytes, id);
  }

  #substitute(message: Message, bytes: Uint8Array, id: number, tag: TooLargeTag | OverloadedTag): number {
    if (this.#lane.queuedBytes > this.#options.maxQueuedBytes + SUBSTITUTE_BYTES) {
      this.#stall();
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

  #onRoom(): void {
    this.#lane.flush();
    if (this.#lane.idle) this.#onDrained?.();
  }

  #onFrames(frames: readonly Frame[]): void {
    for (let i = 0; i < frames.length; i++) {
      const frame = frames[i] as Frame;
      if (this.#over !== undefined || isControl(frame.kind)) {
        frame.release();
        continue;
      }
      try {
        this.#inbox.add(frame);
      } catch (error) {
        this.#fail(
          error instanceof IpcError ? error : new ProtocolError('A message could not be decoded', { cause: error }),
        );
      }
    }
  }

  #take(id: number, bytes: Uint8Array<ArrayBuffer>): void {
    const decoded = decode(bytes);
    const message = id === ID_TAGGED ? this.#options.restore(decoded) : decoded;
    if (!Array.isArray(message)) throw new ProtocolError('Expected a list as message');
    const [type, target] = message as unknown[];
    if (type === 'resolve' || type === 'reject') this.#pulled.delete(target);
    if (type === 'abort') {
      // The end of the session, told by its peer. The channel's end would come next.
      void this.#close(new PeerGoneError('The peer ended the session'));
      return;
    }
    this.#deliver(message);
  }

  #deliver(message: unknown): void {
    const receiver = this.#receiver;
    if (receiver === undefined) {
      this.#received.push(message);
      return;
    }
    this.#receiver = undefined;
    receiver.resolve(message);
  }

  /** The peer broke the protocol. */
  #fail(error: Error): void {
    if (this.#over !== undefined) return;
    this.#finish('ERR_IPC_PROTOCOL', error);
    this.#closing ??= this.#channel.close('protocol');
  }

  /** The peer does not read. */
  #stall(): void {
    const error = new IpcError('ERR_IPC_OVERLOADED', 'The peer does not read what is sent to it');
    this.#finish('ERR_IPC_OVERLOADED', error);
    this.#closing ??= this.#channel.close('stalled');
  }

  #onClosed(reason: DisconnectReason, error: Error | undefined): void {
    this.#finish('ERR_IPC_PEER_GONE', error);
    this.#inbox.close();
    this.#lane.takeUnsent();
    this.#resolveEnded({ reason, error: error ?? (reason === 'closed' ? undefined : this.#cause) });
  }

  /** Nothing is sent or received from here on: calls in flight fail, and so do later ones. Once. */
  #finish(
    code: 'ERR_IPC_CLOSED' | 'ERR_IPC_PEER_GONE' | 'ERR_IPC_PROTOCOL' | 'ERR_IPC_OVERLOADED',
    cause: Error | undefined,
  ): void {
    if (this.#over !== undefined) return;
    const interrupted = disconnected(code, 'Call interrupted by disconnect', cause);
    const over = disconnected(code, 'Called after disconnect', cause);
    this.#over = over;
    this.#cause = cause;
    for (const id of this.#pulled) this.#deliver(['reject', id, interrupted]);
    this.#pulled.clear();
    const callbacks = [...this.#onEnd];
    this.#onEnd.clear();
    for (const callback of callbacks) callback(interrupted);
    // Behind what is received already, as `receive` does it.
    if (this.#receiver !== undefined) this.#receiver.reject(over);
    this.#receiver = undefined;
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

function disconnected(
  code: 'ERR_IPC_CLOSED' | 'ERR_IPC_PEER_GONE' | 'ERR_IPC_PROTOCOL' | 'ERR_IPC_OVERLOADED',
  message: string,
  cause: Error | undefined,
): IpcError {
  const options = cause === undefined ? undefined : { cause };
  return code === 'ERR_IPC_PEER_GONE' ? new PeerGoneError(message, options) : new IpcError(code, message, options);
}
