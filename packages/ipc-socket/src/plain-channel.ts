/**
 * A channel in the plain framing: `u32 length` and payload, nothing else. Each message surfaces as a request (on a server) or a response
 * (on a client); flow control is not to read.
 */
import type { Socket } from 'node:net';
import { KIND_REQUEST, KIND_RESPONSE, PeerGoneError, type Lane, type ReassemblyBudget } from '@spanwire/ipc-core';
import { writeU32 } from './little-endian.ts';
import { PlainDecoder, PREFIX_BYTES } from './plain-decoder.ts';
import { SocketChannel, type Ending, type SocketChannelOptions } from './socket-channel.ts';

export interface PlainChannelOptions extends SocketChannelOptions {
  readonly side: 'server' | 'client';
  readonly maxMessageBytes: number;
  readonly budget: ReassemblyBudget | undefined;
}

export class PlainChannel extends SocketChannel {
  readonly framing = 'plain';
  readonly hello = undefined;
  readonly capacityBytes: number;
  readonly #decoder: PlainDecoder;
  #resuming = false;

  constructor(socket: Socket, options: PlainChannelOptions) {
    super(socket, options);
    this.capacityBytes = options.maxMessageBytes;
    this.#decoder = new PlainDecoder(
      {
        kind: options.side === 'server' ? KIND_REQUEST : KIND_RESPONSE,
        windowBytes: options.windowBytes,
        maxMessageBytes: options.maxMessageBytes,
        budget: options.budget,
      },
      {
        deliver: (frames) => this.deliver(frames),
        pause: () => {
          if (this.isOpen) socket.pause();
        },
        resumable: () => this.#resumeSoon(),
      },
    );
  }

  get midFrame(): boolean {
    return this.#decoder.midFrame;
  }

  /** `kind`, `id` and `flags` do not exist in this framing, and neither does the control lane: its frames are accepted and vanish. */
  trySend(lane: Lane, _kind: number, _id: number, _flags: number, payload: Uint8Array): boolean {
    if (!this.isOpen) return false;
    if (lane === 'control') return true;
    const length = payload.length;
    if (length > this.capacityBytes) {
      throw new RangeError(`Expected \`payload\` to have at most ${this.capacityBytes} bytes, got ${length}`);
    }
    if (this.backlogged) {
      this.wantsDrain = true;
      return false;
    }
    const at = this.writer.claim(PREFIX_BYTES + length);
    const bytes = this.writer.bytes;
    writeU32(bytes, at, length);
    if (length > 0) bytes.set(payload, at + PREFIX_BYTES);
    return true;
  }

  protected override receive(chunk: Uint8Array<ArrayBuffer>): void {
    this.#decoder.push(chunk);
  }

  protected override endOfStream(): Ending {
    if (this.#decoder.atBoundary) return { reason: 'closed' };
    return { reason: 'gone', error: new PeerGoneError('The peer ended the connection in the middle of a message') };
  }

  protected override beforeFlush(): void {}

  protected override farewell(): void {}

  protected override discard(): void {
    this.#decoder.abandon();
  }

  /** Not in the call of `release()`, which may come from inside a delivery. */
  #resumeSoon(): void {
    if (this.#resuming) return;
    this.#resuming = true;
    process.nextTick(() => {
      this.#resuming = false;
      if (!this.isOpen) return;
      this.socket.resume();
      const rest = this.#decoder.takeRest();
      // May pause again.
      this.take(rest ?? EMPTY);
    });
  }
}

const EMPTY: Uint8Array<ArrayBuffer> = new Uint8Array(0);
