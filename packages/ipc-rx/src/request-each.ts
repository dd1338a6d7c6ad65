import { Deque, IpcError, type Bytes, type CallOptions, type IpcClient } from '@spanwire/ipc-core';
import { setMaxListeners } from 'node:events';
import { Observable, type MonoTypeOperatorFunction, type OperatorFunction, type Subscriber } from 'rxjs';
import { expectFunction, integerIn, oneOf } from './arguments.ts';
import { isAsyncIterable, leave } from './pullable.ts';

export interface RequestEachOptions extends Omit<CallOptions, 'signal'> {
  /** How many requests are on their way at once: the pipelining window. At least 1; default 64. Keep it within the client's `maxPending`. */
  readonly concurrency?: number | undefined;
  /** Order of the replies: as payloads came (the default, since replies carry no id), or as they are answered. */
  readonly order?: 'completion' | 'request' | undefined;
  /** Payloads of an Observable that may wait for their turn; one more errors the result. At least 0; default no bound. */
  readonly maxWaiting?: number | undefined;
  /** Applied to each request, cold: subscribing again sends it again. For {@link resendRefused} and {@link retryOnReconnect}. */
  readonly each?: MonoTypeOperatorFunction<Bytes> | undefined;
}

/**
 * Sends each payload as a request, several at a time, and emits the replies.
 *
 *     payloads   --a-b-c--------|
 *     requestEach(client, { concurrency: 2 })
 *     requests     a-------.             each bar is one request on its way
 *                    b--.
 *                       c--.
 *     replies    ----------A(BC)|       order: 'request'
 *     replies    -------B--(CA)-|       order: 'completion'
 *
 * Memory and backpressure: a source that can be iterated (`fromReadable`, `fromReadableStream`, another stream of items) is pulled as requests
 * are answered, so nothing waits. A plain Observable cannot be slowed down: its payloads wait as copies, up to `maxWaiting`. Within order
 * 'request', replies wait for the one before them and count against `concurrency`.
 *
 * Error: the first request that fails errors the result, and the others are cancelled. Completion: when all are answered. Unsubscribe: the source
 * is left, and requests on their way are cancelled on the server.
 *
 * Throws TypeError or RangeError at once on bad options.
 *
 * @example
 * from(names).pipe(map(utf8.encode), requestEach(client, { concurrency: 16 }), map(json.decode)).subscribe(show);
 */
export function requestEach(client: IpcClient, options: RequestEachOptions = {}): OperatorFunction<Uint8Array, Bytes> {
  const { each, timeoutMs, metadata } = options;
  const concurrency = integerIn('concurrency', options.concurrency ?? 64, 1, Number.MAX_SAFE_INTEGER);
  const inOrder = oneOf('order', options.order, ['completion', 'request'], 'request') === 'request';
  const maxWaiting =
    options.maxWaiting === undefined
      ? Number.POSITIVE_INFINITY
      : integerIn('maxWaiting', options.maxWaiting, 0, Number.MAX_SAFE_INTEGER);
  if (each !== undefined) expectFunction('each', each);
  return (payloads$) =>
    new Observable((subscriber) => {
      const abort = new AbortController();
      // One listener per request on its way.
      setMaxListeners(0, abort.signal);
      const call: CallOptions = { timeoutMs, metadata, signal: abort.signal };
      const send = (payload: Uint8Array): Observable<Bytes> | Promise<Bytes> =>
        each === undefined ? client.request(payload, call) : coldRequest(client, payload, call).pipe(each);
      const pipeline = new Pipeline(send, concurrency, inOrder, maxWaiting, subscriber);
      subscriber.add(() => abort.abort(new IpcError('ERR_IPC_CANCELLED', 'The requests were unsubscribed')));
      subscriber.add(isAsyncIterable<Uint8Array>(payloads$) ? pipeline.pull(payloads$) : pipeline.subscribe(payloads$));
    });
}

/** A request that is sent anew by each subscription. */
function coldRequest(client: IpcClient, payload: Uint8Array, call: CallOptions): Observable<Bytes> {
  return new Observable((subscriber) => {
    client.request(payload, call).then(
      (reply) => {
        subscriber.next(reply);
        subscriber.complete();
      },
      (error: unknown) => subscriber.error(error),
    );
  });
}

interface Place {
  reply: Bytes | undefined;
}

class Pipeline {
  readonly #send: (payload: Uint8Array) => Observable<Bytes> | Promise<Bytes>;
  readonly #concurrency: number;
  readonly #inOrder: boolean;
  readonly #maxWaiting: number;
  readonly #out: Subscriber<Bytes>;
  readonly #places = new Deque<Place>();
  readonly #waiting = new Deque<Uint8Array>();
  /** On their way, or answered and waiting for their turn. */
  #busy = 0;
  #ended = false;
  /** Asks the source for one more, where it can be asked. */
  #pullMore: (() => void) | undefined;

  constructor(
    send: (payload: Uint8Array) => Observable<Bytes> | Promise<Bytes>,
    concurrency: number,
    inOrder: boolean,
    maxWaiting: number,
    out: Subscriber<Bytes>,
  ) {
    this.#send = send;
    this.#concurrency = concurrency;
    this.#inOrder = inOrder;
    this.#maxWaiting = maxWaiting;
    this.#out = out;
  }

  subscribe(payloads$: Observable<Uint8Array>): () => void {
    const subscription = payloads$.subscribe({
      next: (payload) => {
        if (this.#busy < this.#concurrency) {
          this.#start(payload);
        } else if (this.#waiting.length < this.#maxWaiting) {
          // A copy: the source may reuse its bytes.
          this.#waiting.push(new Uint8Array(payload));
        } else {
          const message = `Expected at most ${this.#maxWaiting} payloads to wait (maxWaiting), got one more`;
          this.#out.error(new IpcError('ERR_IPC_OVERLOADED', message));
        }
      },
      error: (error: unknown) => this.#out.error(error),
      complete: () => this.#end(),
    });
    return () => subscription.unsubscribe();
  }

  pull(payloads: AsyncIterable<Uint8Array>): () => void {
    const items = payloads[Symbol.asyncIterator]();
    let pulling = false;
    this.#pullMore = () => {
      if (pulling || this.#ended || this.#out.closed || this.#busy >= this.#concurrency) return;
      pulling = true;
      items.next().then(
        (result) => {
          pulling = false;
          if (this.#out.closed) return;
          if (result.done === true) {
            this.#end();
            return;
          }
          this.#start(result.value);
          this.#pullMore?.();
        },
        (error: unknown) => this.#out.error(error),
      );
    };
    this.#pullMore();
    return () => {
      if (!this.#ended) leave(items);
    };
  }

  #start(payload: Uint8Array): void {
    this.#busy++;
    const place: Place = { reply: undefined };
    if (this.#inOrder) this.#places.push(place);
    const sent = this.#send(payload);
    if (sent instanceof Observable) {
      let last: Bytes | undefined;
      const subscription = sent.subscribe({
        next: (reply) => {
          last = reply;
        },
        error: (error: unknown) => this.#out.error(error),
        complete: () => {
          this.#out.remove(subscription);
          if (last === undefined) this.#out.error(new IpcError('ERR_IPC_PROTOCOL', 'Expected a reply, got none'));
          else this.#onReply(place, last);
        },
      });
      this.#out.add(subscription);
      return;
    }
    sent.then(
      (reply) => this.#onReply(place, reply),
      (error: unknown) => this.#out.error(error),
    );
  }

  #onReply(place: Place, reply: Bytes): void {
    if (this.#inOrder) {
      place.reply = reply;
      for (let first = this.#places.peek(); first?.reply !== undefined; first = this.#places.peek()) {
        this.#places.shift();
        this.#emit(first.reply);
      }
    } else {
      this.#emit(reply);
    }
    this.#startWaiting();
    this.#pullMore?.();
    this.#completeWhenDone();
  }

  #emit(reply: Bytes): void {
    this.#busy--;
    this.#out.next(reply);
  }

  #startWaiting(): void {
    while (this.#busy < this.#concurrency && !this.#out.closed) {
      const payload = this.#waiting.shift();
      if (payload === undefined) return;
      this.#start(payload);
    }
  }

  #end(): void {
    this.#ended = true;
    this.#completeWhenDone();
  }

  #completeWhenDone(): void {
    if (this.#ended && this.#busy === 0 && this.#waiting.length === 0) this.#out.complete();
  }
}
