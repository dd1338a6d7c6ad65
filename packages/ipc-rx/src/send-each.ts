import { Deque, IpcError, type IpcClient } from '@spanwire/ipc-core';
import { Observable, type OperatorFunction, type Subscriber } from 'rxjs';
import { integerIn } from './arguments.ts';
import { isAsyncIterable, leave } from './pullable.ts';

export interface SendEachOptions {
  /** Payloads of an Observable that may wait for room; one more errors the result. At least 0; default no bound. */
  readonly maxWaiting?: number | undefined;
}

/**
 * Sends each payload one-way, in order, as fast as the server takes them, and completes when all are accepted.
 *
 *     payloads   --a-b-c-|
 *     accepted     a   b--c          the server's window has room again
 *     sendEach(client)
 *     result     -----------|
 *
 * Memory and backpressure: a source that can be iterated (`fromReadable`, `fromReadableStream`, another stream of items) is pulled as the server
 * takes messages, so nothing waits. A plain Observable cannot be slowed down: its payloads wait as copies, up to `maxWaiting`.
 *
 * Error: a payload that cannot be sent errors the result, and what waits is dropped. Unsubscribe: the source is left, and what waits is
 * dropped; what was accepted arrives.
 *
 * Throws TypeError or RangeError at once on bad options.
 *
 * @example
 * await lastValueFrom(fromReadable(createReadStream(path)).pipe(sendEach(client)), { defaultValue: undefined });
 */
export function sendEach(client: IpcClient, options: SendEachOptions = {}): OperatorFunction<Uint8Array, never> {
  const maxWaiting =
    options.maxWaiting === undefined
      ? Number.POSITIVE_INFINITY
      : integerIn('maxWaiting', options.maxWaiting, 0, Number.MAX_SAFE_INTEGER);
  return (payloads$) =>
    new Observable((subscriber) => {
      if (isAsyncIterable<Uint8Array>(payloads$)) return pullEach(client, payloads$, subscriber);
      const queue = new Queue(client, maxWaiting, subscriber);
      return payloads$.subscribe({
        next: (payload) => queue.push(payload),
        error: (error: unknown) => subscriber.error(error),
        complete: () => queue.end(),
      });
    });
}

function pullEach(client: IpcClient, payloads: AsyncIterable<Uint8Array>, out: Subscriber<never>): () => void {
  const items = payloads[Symbol.asyncIterator]();
  let ended = false;
  const run = async (): Promise<void> => {
    while (!out.closed) {
      const result = await items.next();
      if (result.done === true) {
        ended = true;
        out.complete();
      } else if (!out.closed) {
        await client.send(result.value);
      }
    }
  };
  run().catch((error: unknown) => out.error(error));
  return () => {
    if (!ended) leave(items);
  };
}

/** Payloads of a source that cannot be slowed down. */
class Queue {
  readonly #client: IpcClient;
  readonly #maxWaiting: number;
  readonly #out: Subscriber<never>;
  readonly #waiting = new Deque<Uint8Array>();
  #sending = false;
  #ended = false;

  constructor(client: IpcClient, maxWaiting: number, out: Subscriber<never>) {
    this.#client = client;
    this.#maxWaiting = maxWaiting;
    this.#out = out;
  }

  push(payload: Uint8Array): void {
    if (!this.#sending) {
      this.#send(payload);
    } else if (this.#waiting.length < this.#maxWaiting) {
      // A copy: the source may reuse its bytes.
      this.#waiting.push(new Uint8Array(payload));
    } else {
      const message = `Expected at most ${this.#maxWaiting} payloads to wait (maxWaiting), got one more`;
      this.#out.error(new IpcError('ERR_IPC_OVERLOADED', message));
    }
  }

  end(): void {
    this.#ended = true;
    this.#completeWhenDone();
  }

  #send(payload: Uint8Array): void {
    try {
      if (this.#client.trySend(payload)) return;
    } catch (error) {
      this.#out.error(error);
      return;
    }
    this.#sending = true;
    this.#client.send(payload).then(
      () => this.#onSent(),
      (error: unknown) => this.#out.error(error),
    );
  }

  #onSent(): void {
    this.#sending = false;
    while (!this.#sending && !this.#out.closed) {
      const payload = this.#waiting.shift();
      if (payload === undefined) break;
      this.#send(payload);
    }
    this.#completeWhenDone();
  }

  #completeWhenDone(): void {
    if (this.#ended && !this.#sending && this.#waiting.length === 0) this.#out.complete();
  }
}
