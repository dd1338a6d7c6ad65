/** Carries the messages of one capnweb session over a {@link Channel}, and fails what is in flight when that ends. */
import {
  Deque,
  IpcError,
  isControl,
  PeerGoneError,
  ProtocolError,
  type Channel,
  type DisconnectReason,
  type Frame,
  type ReassemblyBudget,
} from '@spanwire/ipc-core';
import type { RpcTransportWithCustomEncoding } from 'capnweb';
import { decode } from './codec.ts';
import { MessageInbox } from './message-inbox.ts';
import { ID_TAGGED, MessageOutbox, type Message } from './message-outbox.ts';
import type { EndOfLink } from './remote-observable.ts';

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

export class MessageLink implements RpcTransportWithCustomEncoding, EndOfLink {
  readonly encodingLevel = 'jsonCompatibleWithBytes';
  /** Resolves when the channel is closed; never rejects. */
  readonly ended: Promise<LinkEnd>;
  /** Set while a message is encoded that has a tagged node. */
  tagged = false;
  readonly #channel: Channel;
  readonly #options: LinkOptions;
  readonly #outbox: MessageOutbox;
  readonly #inbox: MessageInbox;
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
    this.#outbox = new MessageOutbox(channel, options, this.#pulled, () => this.#stall());
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
    return this.#outbox.send(message as Message, tagged);
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
    if (!this.#outbox.idle) {
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

  #onRoom(): void {
    this.#outbox.flush();
    if (this.#outbox.idle) this.#onDrained?.();
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
    this.#outbox.close();
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

function disconnected(
  code: 'ERR_IPC_CLOSED' | 'ERR_IPC_PEER_GONE' | 'ERR_IPC_PROTOCOL' | 'ERR_IPC_OVERLOADED',
  message: string,
  cause: Error | undefined,
): IpcError {
  const options = cause === undefined ? undefined : { cause };
  return code === 'ERR_IPC_PEER_GONE' ? new PeerGoneError(message, options) : new IpcError(code, message, options);
}
