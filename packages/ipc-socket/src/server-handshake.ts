/**
 * The first bytes of an accepted connection: which framing it speaks, whether it may come in, or whether it is another server that
 * takes the address over.
 */
import type { Socket } from 'node:net';
import {
  decodeHello,
  encodeHello,
  IpcError,
  MAGIC_WORD,
  MAX_LENGTH,
  refusalHello,
  type Channel,
  type ServerContext,
} from '@spanwire/ipc-core';
import { HelloReader } from './hello-reader.ts';
import { readU32 } from './little-endian.ts';
import { expectWindow } from './peer-window.ts';
import { PlainChannel } from './plain-channel.ts';
import { linger } from './socket-channel.ts';
import { SpanwireChannel } from './spanwire-channel.ts';
import { CONFIRMATION, isConfirmation } from './takeover.ts';

export interface ServerHandshakeHost {
  readonly context: ServerContext;
  /** Why this connection may not come in; undefined: it may. */
  admit(): IpcError | undefined;
  /** Whether this address can be taken over; an error says why not. */
  admitTakeover(): IpcError | undefined;
  ready(channel: Channel): void;
  /** A newcomer has put its own socket in our place. It waits for the end of `socket`. */
  takenOver(socket: Socket): void;
  /** The handshake is over, whatever came of it. */
  done(handshake: ServerHandshake): void;
}

const WORD_BYTES = 4;

export class ServerHandshake {
  readonly acceptedAt: number = performance.now();
  /** Resolves when the handshake is over, whatever came of it. */
  readonly over: Promise<void>;
  #end!: () => void;
  readonly #socket: Socket;
  readonly #host: ServerHandshakeHost;
  readonly #head: Uint8Array<ArrayBuffer> = new Uint8Array(WORD_BYTES);
  #headFilled = 0;
  #reader: HelloReader | undefined;
  #confirmation: Uint8Array<ArrayBuffer> | undefined;
  #timer: NodeJS.Timeout | undefined;
  #left = false;
  readonly #onData = (chunk: Buffer<ArrayBuffer>): void => this.#take(chunk);
  readonly #onGone = (): void => this.abort();

  constructor(socket: Socket, host: ServerHandshakeHost) {
    this.#socket = socket;
    this.#host = host;
    this.over = new Promise((resolve) => {
      this.#end = resolve;
    });
    socket.on('error', ignore);
    socket.on('data', this.#onData);
    socket.on('end', this.#onGone);
    socket.on('close', this.#onGone);
  }

  /** A newcomer is between its hello and its confirmation. */
  get isTakeover(): boolean {
    return this.#confirmation !== undefined;
  }

  abort(): void {
    if (this.#left) return;
    this.#leave();
    this.#socket.destroy();
  }

  ref(): void {
    this.#socket.ref();
  }

  unref(): void {
    this.#socket.unref();
  }

  #take(chunk: Uint8Array<ArrayBuffer>): void {
    // From the first byte on: before it, a plain client that has nothing to ask yet may stay.
    this.#timer ??= setTimeout(this.#onGone, this.#host.context.settings.handshakeTimeoutMs).unref();
    try {
      if (this.#confirmation !== undefined) this.#takeConfirmation(chunk);
      else if (this.#reader !== undefined) this.#takeHello(this.#reader, chunk);
      else this.#takeHead(chunk);
    } catch (error) {
      if (!(error instanceof IpcError)) throw error;
      // Who sends no hello of ours would not understand a refusal.
      if (error.code === 'ERR_IPC_PROTOCOL') this.abort();
      else this.#refuse(error);
    }
  }

  #takeHead(chunk: Uint8Array<ArrayBuffer>): void {
    const known = this.#headFilled;
    const take = Math.min(WORD_BYTES - known, chunk.byteLength);
    this.#head.set(chunk.subarray(0, take), known);
    this.#headFilled = known + take;
    if (this.#headFilled < WORD_BYTES) return;
    const first = readU32(this.#head, 0);
    if (first === MAGIC_WORD) {
      this.#reader = new HelloReader();
      if (known > 0) this.#reader.push(this.#head.slice(0, known));
      this.#takeHello(this.#reader, chunk);
    } else if (first <= MAX_LENGTH) {
      this.#welcomePlain(known === 0 ? chunk : joined(this.#head.subarray(0, known), chunk));
    } else {
      this.abort();
    }
  }

  #takeHello(reader: HelloReader, chunk: Uint8Array<ArrayBuffer>): void {
    const read = reader.push(chunk);
    if (read === undefined) return;
    const { context } = this.#host;
    const hello = decodeHello(read.hello);
    if (hello.takeover === true) {
      const refusal = this.#host.admitTakeover();
      if (refusal !== undefined) throw refusal;
      this.#socket.write(encodeHello(context.hello));
      this.#confirmation = new Uint8Array(0);
      if (read.rest.byteLength > 0) this.#takeConfirmation(read.rest);
      return;
    }
    expectWindow(hello);
    const refusal = this.#host.admit();
    if (refusal !== undefined) throw refusal;
    this.#socket.write(encodeHello(context.hello));
    this.#leave();
    this.#socket.pause();
    this.#host.ready(new SpanwireChannel(this.#socket, hello, { ...this.#channelOptions(), rest: read.rest }));
  }

  #welcomePlain(rest: Uint8Array<ArrayBuffer>): void {
    const refusal = this.#host.admit();
    if (refusal !== undefined) {
      // A plain peer has no word for it.
      this.abort();
      return;
    }
    const { settings, budget } = this.#host.context;
    this.#leave();
    this.#socket.pause();
    this.#host.ready(
      new PlainChannel(this.#socket, {
        ...this.#channelOptions(),
        rest,
        side: 'server',
        maxMessageBytes: settings.maxMessageBytes,
        budget,
      }),
    );
  }

  #takeConfirmation(chunk: Uint8Array<ArrayBuffer>): void {
    const bytes = joined(this.#confirmation ?? new Uint8Array(0), chunk);
    this.#confirmation = bytes;
    if (bytes.byteLength < CONFIRMATION.byteLength) return;
    if (!isConfirmation(bytes)) {
      this.abort();
      return;
    }
    this.#leave();
    this.#host.takenOver(this.#socket);
  }

  #channelOptions(): { windowBytes: number; backlogBytes: number; graceMs: number } {
    const { hello, settings } = this.#host.context;
    return { windowBytes: hello.windowBytes, backlogBytes: settings.responseWindowBytes, graceMs: settings.graceMs };
  }

  #refuse(error: IpcError): void {
    const socket = this.#socket;
    const { graceMs } = this.#host.context.settings;
    this.#leave();
    socket.end(encodeHello(refusalHello(error)));
    linger(socket, graceMs);
  }

  #leave(): void {
    this.#left = true;
    clearTimeout(this.#timer);
    this.#socket.off('data', this.#onData);
    this.#socket.off('end', this.#onGone);
    this.#socket.off('close', this.#onGone);
    this.#host.done(this);
    this.#end();
  }
}

function joined(first: Uint8Array, second: Uint8Array): Uint8Array<ArrayBuffer> {
  const all = new Uint8Array(first.byteLength + second.byteLength);
  all.set(first);
  all.set(second, first.byteLength);
  return all;
}

/** 'close' follows, and that is listened to. */
function ignore(): void {}
