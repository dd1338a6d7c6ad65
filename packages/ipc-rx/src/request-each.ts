import {
  Deque,
  IpcError,
  requester,
  type Bytes,
  type CallOptions,
  type IpcClient,
  type Requester,
} from '@spanwire/ipc-core';
import { Observable, Subscription, type MonoTypeOperatorFunction, type OperatorFunction, type Subscriber } from 'rxjs';
import { expectFunction, integerIn, oneOf } from './arguments.ts';
import { isAsyncIterable, leave } from './pullable.ts';
import { takeFrom } from './through.ts';

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
      const makeRequester: MakeRequester =
        each === undefined
          ? (onReply, onError) => requester(client, onReply, onError)
          : (onReply, onError) => new EachRequester(client, each, onReply, onError);
      const pipeline = new Pipeline(makeRequester, call, concurrency, inOrder, maxWaiting, subscriber);
      subscriber.add(() => pipeline.giveUp());
      subscriber.add(isAsyncIterable<Uint8Array>(payloads$) ? pipeline.pull(payloads$) : pipeline.subscribe(payloads$));
    });
}

/** Requests that go through an operator each. The last reply counts. */
class EachRequester implements Requester {
  readonly #client: IpcClient;
  readonly #each: MonoTypeOperatorFunction<Bytes>;
  readonly #onReply: (reply: Bytes) => void;
  readonly #onError: (error: unknown) => void;
  #subscription: Subscription | undefined;

  constructor(
    client: IpcClient,
    each: MonoTypeOperatorFunction<Bytes>,
    onReply: (reply: Bytes) => void,
    onError: (error: unknown) => void,
  ) {
    this.#client = client;
    this.#each = each;
    this.#onReply = onReply;
    this.#onError = onError;
  }

  request(data: Uint8Array, options?: CallOptions): void {
    let last: Bytes | undefined;
    // Before it begins: it may be answered while it does, and its place in use again.
    const subscription = new Subscription();
    this.#subscription = subscription;
    const reply$ = coldRequest(this.#client, data, options).pipe(this.#each);
    subscription.add(
      reply$.subscribe({
        next: (reply) => {
          last = reply;
        },
        error: this.#onError,
        complete: () => {
          if (last === undefined) this.#onError(new IpcError('ERR_IPC_PROTOCOL', 'Expected a reply, got none'));
          else this.#onReply(last);
        },
      }),
    );
  }

  giveUp(): void {
    this.#subscription?.unsubscribe();
  }
}

/** A request that is sent anew by each subscription. */
function coldRequest(client: IpcClient, payload: Uint8Array, options: CallOptions | undefined): Observable<Bytes> {
  return new Observable((subscriber) => {
    const sent = requester(
      client,
      (reply) => {
        subscriber.next(reply);
        subscriber.complete();
      },
      (error) => subscriber.error(error),
    );
    sent.request(payload, options);
    return () => sent.giveUp(unsubscribed());
  });
}

function unsubscribed(): IpcError {
  return new IpcError('ERR_IPC_CANCELLED', 'The requests were unsubscribed');
}

type MakeRequester = (onReply: (reply: Bytes) => void, onError: (error: unknown) => void) => Requester;

/** One of the requests that may be on their way. Places are used again, so that a request makes nothing. */
class Place {
  readonly requester: Requester;
  /** The reply, while it waits for those before it. */
  reply: Bytes | undefined = undefined;

  constructor(pipeline: Pipeline, makeRequester: MakeRequester) {
    this.requester = makeRequester(
      (reply) => pipeline.onReply(this, reply),
      (error) => pipeline.onError(error),
    );
  }
}

class Pipeline {
  readonly #makeRequester: MakeRequester;
  readonly #options: CallOptions | undefined;
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

  constructor(
    makeRequester: MakeRequester,
    options: CallOptions | undefined,
    concurrency: number,
    inOrder: boolean,
    maxWaiting: number,
    out: Subscriber<Bytes>,
  ) {
    this.#makeRequester = makeRequester;
    this.#options = options;
    this.#concurrency = concurrency;
    this.#inOrder = inOrder;
    this.#maxWaiting = maxWaiting;
    this.#out = out;
  }

  subscribe(payloads$: Observable<Uint8Array>): () => void {
    const subscription = takeFrom(payloads$, {
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
    for (const place of this.#places) place.requester.giveUp(reason);
  }

  #start(payload: Uint8Array): void {
    this.#busy++;
    const place = (this.#freeCount > 0 ? this.#free[--this.#freeCount] : undefined) ?? this.#newPlace();
    if (this.#inOrder) this.#order.push(place);
    place.requester.request(payload, this.#options);
  }

  #newPlace(): Place {
    const place = new Place(this, this.#makeRequester);
    this.#places.push(place);
    return place;
  }

  onError(error: unknown): void {
    this.#out.error(error);
  }

  onReply(place: Place, reply: Bytes): void {
    if (!this.#inOrder) this.#emit(place, reply);
    else if (this.#order.peek() === place) this.#emitInOrder(place, reply);
    else place.reply = reply;
    if (this.#waiting.length > 0) this.#startWaiting();
    if (this.#pullMore !== undefined) this.#pullMore();
    if (this.#ended) this.#completeWhenDone();
  }

  /** Emits the reply of the first place, and those that waited for it. */
  #emitInOrder(place: Place, reply: Bytes): void {
    this.#order.shift();
    this.#emit(place, reply);
    for (let next = this.#order.peek(); next?.reply !== undefined; next = this.#order.peek()) {
      this.#order.shift();
      this.#emit(next, next.reply);
    }
  }

  #emit(place: Place, reply: Bytes): void {
    place.reply = undefined;
    this.#free[this.#freeCount++] = place;
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
