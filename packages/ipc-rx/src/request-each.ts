import {
  Deque,
  IpcError,
  requestWith,
  type Bytes,
  type CallOptions,
  type IpcClient,
  type PendingRequest,
} from '@spanwire/ipc-core';
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
  const call: CallOptions | undefined =
    timeoutMs === undefined && metadata === undefined ? undefined : { timeoutMs, metadata };
  return (payloads$) =>
    new Observable((subscriber) => {
      const send: Send =
        each === undefined
          ? (payload, place) => requestWith(client, payload, place.onReply, place.onError, call)
          : (payload, place) => subscribeEach(coldRequest(client, payload, call).pipe(each), place);
      const pipeline = new Pipeline(send, concurrency, inOrder, maxWaiting, subscriber);
      subscriber.add(() => pipeline.giveUp());
      subscriber.add(isAsyncIterable<Uint8Array>(payloads$) ? pipeline.pull(payloads$) : pipeline.subscribe(payloads$));
    });
}

/** A request that is sent anew by each subscription. */
function coldRequest(client: IpcClient, payload: Uint8Array, options: CallOptions | undefined): Observable<Bytes> {
  return new Observable((subscriber) => {
    const pending = requestWith(
      client,
      payload,
      (reply) => {
        subscriber.next(reply);
        subscriber.complete();
      },
      (error) => subscriber.error(error),
      options,
    );
    return () => pending.giveUp(unsubscribed());
  });
}

/** The last reply counts. */
function subscribeEach(reply$: Observable<Bytes>, place: Place): PendingRequest {
  let last: Bytes | undefined;
  const subscription = reply$.subscribe({
    next: (reply) => {
      last = reply;
    },
    error: place.onError,
    complete: () => {
      if (last === undefined) place.onError(new IpcError('ERR_IPC_PROTOCOL', 'Expected a reply, got none'));
      else place.onReply(last);
    },
  });
  return { giveUp: () => subscription.unsubscribe() };
}

function unsubscribed(): IpcError {
  return new IpcError('ERR_IPC_CANCELLED', 'The requests were unsubscribed');
}

/** Sends a payload; the outcome goes to its place. */
type Send = (payload: Uint8Array, place: Place) => PendingRequest;

/** One of the requests that may be on their way. Places are used again, so that a request makes nothing but its call. */
class Place {
  readonly onReply: (reply: Bytes) => void;
  readonly onError: (error: unknown) => void;
  pending: PendingRequest | undefined = undefined;
  /** How many requests had it and are over. */
  uses = 0;
  /** The reply, while it waits for those before it. */
  reply: Bytes | undefined = undefined;

  constructor(pipeline: Pipeline) {
    this.onReply = (reply) => pipeline.onReply(this, reply);
    this.onError = (error) => pipeline.onError(error);
  }
}

class Pipeline {
  readonly #send: Send;
  readonly #concurrency: number;
  readonly #inOrder: boolean;
  readonly #maxWaiting: number;
  readonly #out: Subscriber<Bytes>;
  /** All there ever were: as many as were on their way at once. */
  readonly #places: Place[] = [];
  /** A stack of those that are not in use, `#freeCount` high. Its array keeps its length: V8 would grow it again each time. */
  readonly #free: Place[] = [];
  #freeCount = 0;
  /** In the order of their payloads, where replies come in that order. */
  readonly #order = new Deque<Place>();
  readonly #waiting = new Deque<Uint8Array>();
  /** On their way, or answered and waiting for their turn. */
  #busy = 0;
  #ended = false;
  /** Asks the source for one more, where it can be asked. */
  #pullMore: (() => void) | undefined;

  constructor(send: Send, concurrency: number, inOrder: boolean, maxWaiting: number, out: Subscriber<Bytes>) {
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

  /** Cancels what is on its way. */
  giveUp(): void {
    const reason = unsubscribed();
    for (const { pending } of this.#places) pending?.giveUp(reason);
  }

  #start(payload: Uint8Array): void {
    this.#busy++;
    const place = (this.#freeCount > 0 ? this.#free[--this.#freeCount] : undefined) ?? this.#newPlace();
    if (this.#inOrder) this.#order.push(place);
    const { uses } = place;
    const pending = this.#send(payload, place);
    // It may be over already, and the place in use again.
    if (place.uses === uses) place.pending = pending;
  }

  #newPlace(): Place {
    const place = new Place(this);
    this.#places.push(place);
    return place;
  }

  onError(error: unknown): void {
    this.#out.error(error);
  }

  onReply(place: Place, reply: Bytes): void {
    place.pending = undefined;
    place.uses++;
    if (!this.#inOrder) {
      this.#emit(place, reply);
    } else {
      place.reply = reply;
      for (let first = this.#order.peek(); first?.reply !== undefined; first = this.#order.peek()) {
        this.#order.shift();
        this.#emit(first, first.reply);
      }
    }
    if (this.#waiting.length > 0) this.#startWaiting();
    this.#pullMore?.();
    if (this.#ended) this.#completeWhenDone();
  }

  #emit(place: Place, reply: Bytes): void {
    place.reply = undefined;
    const at = this.#freeCount++;
    if (at < this.#free.length) this.#free[at] = place;
    else this.#free.push(place);
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
