/** One attempt to connect and to read the server's hello, under a deadline and a signal. */
import { connect, type Socket } from 'node:net';
import {
  decodeHello,
  errorOfRefusal,
  PeerGoneError,
  TimeoutError,
  type IpcError,
  type PeerHello,
} from '@spanwire/ipc-core';
import { netOptions, type SocketAddress } from './address.ts';
import { HIGH_WATER_MARK } from './batch-writer.ts';
import { HelloReader, type ReadHello } from './hello-reader.ts';
import { connectError, errnoOf } from './system-errors.ts';

/** How long to wait when the server's queue of connections is full. */
const QUEUE_FULL_DELAY_MS = 10;

/** Call its steps in order, then `finish` or `abandon`. Every step rejects when the deadline passes or the signal aborts. */
export class ConnectAttempt {
  readonly #address: SocketAddress;
  readonly #timeoutMs: number;
  readonly #signal: AbortSignal | undefined;
  readonly #timer: NodeJS.Timeout;
  readonly #onAbort = (): void => this.#fail(this.#signal?.reason);
  #socket: Socket | undefined;
  #failure: { readonly error: unknown } | undefined;
  #reject: ((error: unknown) => void) | undefined;
  #connected = false;

  constructor(address: SocketAddress, timeoutMs: number, signal: AbortSignal | undefined) {
    this.#address = address;
    this.#timeoutMs = timeoutMs;
    this.#signal = signal;
    this.#timer = setTimeout(() => this.#fail(this.#timeout()), timeoutMs);
    if (signal?.aborted === true) this.#onAbort();
    else signal?.addEventListener('abort', this.#onAbort, { once: true });
  }

  async connect(): Promise<Socket> {
    const options = {
      ...netOptions(this.#address),
      allowHalfOpen: true,
      noDelay: true,
      highWaterMark: HIGH_WATER_MARK,
    };
    for (;;) {
      try {
        const socket = await this.#step<Socket>((resolve, reject) => {
          const opened = connect(options);
          this.#socket = opened;
          opened.once('error', reject);
          opened.once('connect', () => resolve(opened));
        });
        // Paused until somebody reads. Later errors are followed by 'close'.
        socket.pause();
        socket.on('error', () => {});
        this.#connected = true;
        return socket;
      } catch (error) {
        if (this.#failure !== undefined) throw this.#failure.error;
        // The one refusal that passes by itself: the server is there and has not yet accepted those before us.
        if (errnoOf(error) !== 'EAGAIN') throw connectError(this.#address.text, error);
        await this.#step<void>((resolve) => setTimeout(resolve, QUEUE_FULL_DELAY_MS));
      }
    }
  }

  /** Reads the server's hello and throws what it refuses with. `rest` is what came behind it. */
  async readHello(socket: Socket): Promise<{ hello: PeerHello; rest: Uint8Array<ArrayBuffer> }> {
    const reader = new HelloReader();
    let take: ((chunk: Buffer<ArrayBuffer>) => void) | undefined;
    let gone: (() => void) | undefined;
    try {
      const { hello: bytes, rest } = await this.#step<ReadHello>((resolve, reject) => {
        gone = () =>
          reject(
            new PeerGoneError(`The server on ${this.#address.text} closed the connection instead of saying hello`),
          );
        take = (chunk) => {
          try {
            const read = reader.push(chunk);
            if (read === undefined) return;
            socket.pause();
            resolve(read);
          } catch (error) {
            reject(error);
          }
        };
        socket.on('data', take).resume();
        socket.once('end', gone);
        socket.once('close', gone);
      });
      const hello = decodeHello(bytes);
      if (hello.refusal !== undefined) throw errorOfRefusal(hello.refusal);
      return { hello, rest };
    } finally {
      if (take !== undefined) socket.off('data', take);
      if (gone !== undefined) socket.off('end', gone).off('close', gone);
    }
  }

  /** The socket is somebody else's from here on. */
  finish(): void {
    if (this.#failure !== undefined) throw this.#failure.error;
    clearTimeout(this.#timer);
    this.#signal?.removeEventListener('abort', this.#onAbort);
  }

  abandon(): void {
    clearTimeout(this.#timer);
    this.#signal?.removeEventListener('abort', this.#onAbort);
    this.#socket?.destroy();
  }

  #step<T>(run: (resolve: (value: T) => void, reject: (error: unknown) => void) => void): Promise<T> {
    return new Promise((resolve, reject) => {
      if (this.#failure !== undefined) {
        reject(this.#failure.error);
        return;
      }
      this.#reject = reject;
      run(resolve, reject);
    });
  }

  #fail(error: unknown): void {
    this.#failure ??= { error };
    this.#reject?.(error);
  }

  #timeout(): IpcError {
    const { text } = this.#address;
    return new TimeoutError(
      this.#connected
        ? `The server on ${text} did not say hello within ${this.#timeoutMs} ms. If it speaks the plain framing, set \`framing: "plain"\``
        : `No connection to ${text} within ${this.#timeoutMs} ms`,
      this.#timeoutMs,
    );
  }
}
