/** What both framings share: the life of one socket as a channel. */
import type { Socket } from 'node:net';
import {
  IpcError,
  PeerGoneError,
  type Channel,
  type DisconnectReason,
  type Frame,
  type Lane,
  type PeerHello,
  type PeerInfo,
} from '@spanwire/ipc-core';
import { BatchWriter } from './batch-writer.ts';

/** Why the peer's end-of-file ended the connection. */
export interface Ending {
  readonly reason: DisconnectReason;
  readonly error?: Error | undefined;
}

export interface SocketChannelOptions {
  /** Bytes that this side takes unreleased. */
  readonly windowBytes: number;
  /** Bytes that may wait for the kernel before data frames are refused. */
  readonly backlogBytes: number;
  /** How long `close()` may flush. */
  readonly graceMs: number;
  /** What arrived behind the handshake. */
  readonly rest: Uint8Array<ArrayBuffer> | undefined;
}

/** open -> closing (flushing; what arrives is discarded) -> closed. */
type State = 'open' | 'closing' | 'closed';

export abstract class SocketChannel implements Channel {
  abstract readonly framing: 'spanwire' | 'plain';
  abstract readonly hello: PeerHello | undefined;
  abstract readonly capacityBytes: number;
  abstract readonly midFrame: boolean;
  /** node:net tells nothing about the peer. */
  readonly peer: PeerInfo | undefined = undefined;
  onRoom: (() => void) | undefined;
  onClosed: ((reason: DisconnectReason, error?: Error) => void) | undefined;
  receivedBytes = 0;
  protected readonly writer: BatchWriter;
  protected readonly socket: Socket;
  /** A data frame was refused because of the backlog, and nobody was told yet that it is gone. */
  protected wantsDrain = false;
  readonly #backlogBytes: number;
  readonly #graceMs: number;
  readonly #onData: (chunk: Buffer<ArrayBuffer>) => void;
  #rest: Uint8Array<ArrayBuffer> | undefined;
  #onFrames: ((frames: readonly Frame[]) => void) | undefined;
  #state: State = 'open';
  #started = false;
  #reason: DisconnectReason = 'closed';
  #failure: Error | undefined;
  #graceTimer: NodeJS.Timeout | undefined;
  #reported: Promise<void>;
  #report!: () => void;

  /** `socket` must be paused and without listeners but one for 'error'. It is read once `onFrames` is set. */
  constructor(socket: Socket, options: SocketChannelOptions) {
    this.socket = socket;
    this.#backlogBytes = options.backlogBytes;
    this.#graceMs = options.graceMs;
    this.#rest = options.rest;
    this.#reported = new Promise((resolve) => {
      this.#report = resolve;
    });
    this.writer = new BatchWriter(
      socket,
      () => this.beforeFlush(),
      () => this.#afterWrite(),
    );
    this.#onData = (chunk) => this.take(chunk);
    socket.on('error', (error) => {
      this.#failure ??= error;
    });
    socket.on('end', () => this.#ended());
    socket.on('close', () => this.#closed());
  }

  get onFrames(): ((frames: readonly Frame[]) => void) | undefined {
    return this.#onFrames;
  }

  set onFrames(callback: ((frames: readonly Frame[]) => void) | undefined) {
    this.#onFrames = callback;
    if (callback === undefined || this.#started) return;
    this.#started = true;
    // Not inside the setter: whoever sets one callback after the other must not be called in between.
    process.nextTick(() => this.#start());
  }

  abstract trySend(lane: Lane, kind: number, id: number, flags: number, payload: Uint8Array): boolean;

  close(reason: DisconnectReason = 'closed'): Promise<void> {
    if (this.#state !== 'open') return this.#reported;
    if (reason !== 'closed' && reason !== 'shutdown') {
      this.fail(reason);
      return this.#reported;
    }
    this.#reason = reason;
    this.farewell();
    this.#state = 'closing';
    // A peer that does not read must not hang this.
    this.#graceTimer = setTimeout(() => this.#finish(), this.#graceMs).unref();
    // Reading on, into nothing: to close with unread input would reset the connection and could cost the peer what it has not read.
    this.#started = true;
    this.#rest = undefined;
    this.discard();
    this.socket.resume();
    this.writer.flush();
    this.#endWhenWritten();
    return this.#reported;
  }

  ref(): void {
    this.socket.ref();
  }

  unref(): void {
    this.socket.unref();
  }

  /** Decodes `chunk` and delivers its frames. Throws an {@link IpcError} when the peer broke the protocol. */
  protected abstract receive(chunk: Uint8Array<ArrayBuffer>): void;
  /** The peer ended its stream. */
  protected abstract endOfStream(): Ending;
  /** A flush follows: the last chance to add to it. */
  protected abstract beforeFlush(): void;
  /** Adds the last frames of an orderly close. */
  protected abstract farewell(): void;
  /** What was received is of no interest any more. */
  protected abstract discard(): void;

  protected get isOpen(): boolean {
    return this.#state === 'open';
  }

  /** Whether the kernel lags behind so far that data frames are refused. */
  protected get backlogged(): boolean {
    return this.writer.backlogBytes >= this.#backlogBytes;
  }

  /** Hands a batch up; false when the channel was closed meanwhile. */
  protected deliver(frames: readonly Frame[]): boolean {
    this.#onFrames?.(frames);
    return this.#state === 'open';
  }

  /** Ends the connection at once, without a flush. */
  protected fail(reason: DisconnectReason, error?: Error): void {
    if (this.#state === 'closed') return;
    this.#reason = reason;
    this.#failure = error;
    this.#finish();
  }

  /** To be called outside of `trySend`. */
  protected offerRoom(): void {
    if (this.#state === 'open') this.onRoom?.();
  }

  /** Receives `chunk`. An {@link IpcError} in it is the peer's fault and ends the connection. */
  protected take(chunk: Uint8Array<ArrayBuffer>): void {
    if (this.#state !== 'open') return;
    this.receivedBytes = (this.receivedBytes + chunk.length) >>> 0;
    // Answers that are given while their requests are delivered need not wait for the end of the turn.
    this.writer.gather();
    try {
      this.receive(chunk);
    } catch (error) {
      if (!(error instanceof IpcError)) throw error;
      this.fail('protocol', error);
    } finally {
      this.writer.gathered();
    }
  }

  #start(): void {
    if (this.#state !== 'open') return;
    this.socket.on('data', this.#onData);
    const rest = this.#rest;
    this.#rest = undefined;
    this.socket.resume();
    if (rest !== undefined && rest.length > 0) this.take(rest);
  }

  #afterWrite(): void {
    if (this.#state === 'closing') this.#endWhenWritten();
    else if (this.wantsDrain && !this.backlogged) {
      this.wantsDrain = false;
      this.offerRoom();
    }
  }

  #endWhenWritten(): void {
    if (this.writer.idle && !this.socket.writableEnded) this.socket.end(() => this.#finish());
  }

  /** The peer will send no more. */
  #ended(): void {
    if (this.#state === 'closing') return;
    if (this.#state === 'closed') {
      this.socket.destroy();
      return;
    }
    const ending = this.endOfStream();
    if (ending.reason !== 'closed') this.fail(ending.reason, ending.error);
    else void this.close();
  }

  #closed(): void {
    if (this.#state === 'open') {
      const cause = this.#failure;
      this.#reason = 'gone';
      this.#failure = new PeerGoneError('The connection broke', cause === undefined ? undefined : { cause });
    }
    this.#finish();
  }

  /** Reports, once, and leaves the socket to itself: destroyed, or waiting for the peer's end-of-file in the background. */
  #finish(): void {
    if (this.#state === 'closed') return;
    const orderly = this.#state === 'closing' && this.socket.writableFinished && !this.socket.destroyed;
    this.#state = 'closed';
    clearTimeout(this.#graceTimer);
    this.writer.stop();
    this.discard();
    if (orderly && !this.socket.readableEnded) linger(this.socket, this.#graceMs);
    else this.socket.destroy();
    const reason = this.#reason;
    const failure = reason === 'closed' || reason === 'shutdown' ? undefined : this.#failure;
    process.nextTick(() => {
      this.onClosed?.(reason, failure);
      this.#report();
    });
  }
}

/** Reads into nothing until the peer ends too, at most `graceMs`, without keeping the process. */
export function linger(socket: Socket, graceMs: number): void {
  socket.unref();
  const timer = setTimeout(() => socket.destroy(), graceMs).unref();
  socket.once('end', () => socket.destroy());
  socket.once('close', () => clearTimeout(timer));
  socket.resume();
}
