/** A channel in Spanwire's own framing: frames in two lanes, a window in each direction. */
import type { Socket } from 'node:net';
import {
  chargeOf,
  HEADER_BYTES,
  isControl,
  KIND_CREDIT,
  KIND_GOAWAY,
  MAX_CONTROL_BYTES,
  MAX_LENGTH,
  packKindAndId,
  packLength,
  PeerGoneError,
  ReceiveWindow,
  SendWindow,
  type Lane,
  type PeerHello,
} from '@spanwire/ipc-core';
import { FrameDecoder, type FrameSink } from './frame-decoder.ts';
import { writeU32 } from './little-endian.ts';
import { SocketChannel, type Ending, type SocketChannelOptions } from './socket-channel.ts';

export class SpanwireChannel extends SocketChannel {
  readonly framing = 'spanwire';
  readonly hello: PeerHello;
  readonly capacityBytes: number;
  readonly #sendWindow: SendWindow;
  readonly #receiveWindow: ReceiveWindow;
  readonly #decoder: FrameDecoder;
  /** Credit that the next write takes along. */
  #credit = 0;
  /** A data frame was refused because the window was spent, and nobody was told yet that credit came. */
  #wantsCredit = false;
  #creditCame = false;
  #saidGoaway = false;
  #heardGoaway = false;

  constructor(socket: Socket, hello: PeerHello, options: SocketChannelOptions) {
    super(socket, options);
    this.hello = hello;
    this.capacityBytes = Math.min(hello.windowBytes - HEADER_BYTES, MAX_LENGTH);
    this.#sendWindow = new SendWindow(hello.windowBytes);
    this.#receiveWindow = new ReceiveWindow(options.windowBytes, (bytes) => {
      this.#credit += bytes;
    });
    const sink: FrameSink = {
      deliver: (frames) => this.deliver(frames),
      credit: (bytes) => {
        this.#sendWindow.give(bytes);
        this.#creditCame = true;
      },
      goaway: () => {
        this.#heardGoaway = true;
      },
      released: () => this.writer.schedule(),
    };
    this.#decoder = new FrameDecoder(this.#receiveWindow, options.windowBytes, sink);
  }

  get midFrame(): boolean {
    return this.#decoder.midFrame;
  }

  trySend(lane: Lane, kind: number, id: number, flags: number, payload: Uint8Array): boolean {
    if (!this.isOpen) return false;
    const length = payload.length;
    if ((lane === 'control') !== isControl(kind)) {
      throw new TypeError(`Expected \`lane\` to be the one of kind ${kind}, got "${lane}"`);
    }
    if (lane === 'control') {
      if (length > MAX_CONTROL_BYTES) {
        throw new RangeError(`Expected \`payload\` to have at most ${MAX_CONTROL_BYTES} bytes, got ${length}`);
      }
      if (kind === KIND_GOAWAY) this.#saidGoaway = true;
    } else {
      if (length > this.capacityBytes) {
        throw new RangeError(`Expected \`payload\` to have at most ${this.capacityBytes} bytes, got ${length}`);
      }
      if (this.backlogged) {
        this.wantsDrain = true;
        return false;
      }
      if (!this.#sendWindow.tryTake(chargeOf(length))) {
        this.#wantsCredit = true;
        return false;
      }
    }
    const at = this.writer.claim(HEADER_BYTES + length);
    const bytes = this.writer.bytes;
    writeU32(bytes, at, packLength(length, flags));
    writeU32(bytes, at + 4, packKindAndId(kind, id));
    if (length > 0) bytes.set(payload, at + HEADER_BYTES);
    return true;
  }

  protected override receive(chunk: Uint8Array<ArrayBuffer>): void {
    this.#decoder.push(chunk);
    if (!this.#creditCame) return;
    this.#creditCame = false;
    if (!this.#wantsCredit) return;
    this.#wantsCredit = false;
    this.offerRoom();
  }

  protected override endOfStream(): Ending {
    if (this.#heardGoaway && !this.#decoder.midFrame) return { reason: 'closed' };
    return { reason: 'gone', error: new PeerGoneError('The peer ended the connection without saying goodbye') };
  }

  protected override beforeFlush(): void {
    this.#receiveWindow.settle();
    const credit = this.#credit;
    if (credit === 0 || !this.isOpen) return;
    this.#credit = 0;
    const at = this.writer.claim(HEADER_BYTES + 4);
    const bytes = this.writer.bytes;
    writeU32(bytes, at, packLength(4, 0));
    writeU32(bytes, at + 4, packKindAndId(KIND_CREDIT, 0));
    writeU32(bytes, at + HEADER_BYTES, credit);
  }

  protected override farewell(): void {
    if (!this.#saidGoaway) this.trySend('control', KIND_GOAWAY, 0, 0, NOTHING);
  }

  protected override discard(): void {}
}

const NOTHING: Uint8Array = new Uint8Array(0);
