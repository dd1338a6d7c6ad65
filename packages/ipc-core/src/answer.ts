/** The one implementation of handlers. */
import { Observable, type OperatorFunction, type Subscriber } from 'rxjs';
import type { HandleOptions, Handler, HandlerOutput, IpcRequest, IpcResponse } from './contract.ts';
import { Deque } from './deque.ts';
import { IpcError } from './errors.ts';
import { expectFunction, integerIn, oneOf, show } from './options.ts';
import { originOf } from './request-origin.ts';
import { isAsyncIterable, isObservable } from './stream-sender.ts';

/**
 * Answers each request with what `handler` gives: bytes, a promise of them, a stream, or nothing (`undefined`). A throw or a
 * rejection answers that request with an error and disturbs nothing else.
 *
 * Ownership: the span is the handler's until it has answered, also across an `await`. Waits: with `concurrency`, requests wait
 * (pinned, in order) for a running handler; the client's window bounds them. On unsubscribe running handlers finish and their results are dropped;
 * what waits never starts, and is answered ERR_IPC_REFUSED.
 * A stream counts as running until its answer is made, not until it ends. Throws TypeError or RangeError at once on bad options.
 *
 * @example
 * server.requests$.pipe(answer((_clientId, request) => request)).subscribe(server.responses); // echo
 */
export function answer(handler: Handler, options: HandleOptions = {}): OperatorFunction<IpcRequest, IpcResponse> {
  expectFunction('handler', handler);
  const concurrency = integerIn(
    'concurrency',
    options.concurrency,
    1,
    Number.MAX_SAFE_INTEGER,
    Number.MAX_SAFE_INTEGER,
  );
  const order = oneOf('order', options.order, ['completion', 'request'], 'completion');
  return (requests$) =>
    new Observable((subscriber) => {
      const run = new Run(handler, concurrency, order === 'request', subscriber);
      subscriber.add(() => run.leave());
      return requests$.subscribe({
        next: (request) => run.take(request),
        error: (error: unknown) => subscriber.error(error),
        complete: () => run.finish(),
      });
    });
}

/** An answer that is not made yet, or not yet its turn. */
interface Place {
  response: IpcResponse | undefined;
}

class Run {
  readonly #handler: Handler;
  readonly #concurrency: number;
  readonly #inOrder: boolean;
  readonly #out: Subscriber<IpcResponse>;
  readonly #waiting = new Deque<IpcRequest>();
  readonly #places = new Deque<Place>();
  #running = 0;
  /** Handlers that have not returned. One may end the requests, and its answer still counts. */
  #calling = 0;
  #finished = false;
  #starting = false;

  constructor(handler: Handler, concurrency: number, inOrder: boolean, out: Subscriber<IpcResponse>) {
    this.#handler = handler;
    this.#concurrency = concurrency;
    this.#inOrder = inOrder;
    this.#out = out;
  }

  take(request: IpcRequest): void {
    if (this.#running < this.#concurrency && this.#waiting.length === 0) this.#start(request);
    else this.#waiting.push(request);
  }

  finish(): void {
    this.#finished = true;
    this.#completeWhenDone();
  }

  /** Nobody takes answers any more: what waits will not start, and its client may send it again. */
  leave(): void {
    for (const request of this.#waiting.drain()) {
      originOf(request)?.fail(new IpcError('ERR_IPC_REFUSED', 'The server stopped before it started this request'));
      request.release();
    }
  }

  #start(request: IpcRequest): void {
    this.#calling++;
    this.#call(request);
    this.#calling--;
    if (this.#finished) this.#completeWhenDone();
  }

  #call(request: IpcRequest): void {
    const { clientId, requestId } = request;
    let output: HandlerOutput | Promise<HandlerOutput>;
    try {
      output = this.#handler(clientId, request.span, request);
      if (!isThenable(output)) {
        const response = responseOf(clientId, requestId, output);
        // Nothing to wait for, and nothing before it: straight on.
        if (!this.#inOrder || this.#places.length === 0) this.#out.next(response);
        else this.#places.push({ response });
        return;
      }
    } catch (error) {
      this.#settle(this.#place(), {
        clientId,
        requestId,
        error: error ?? new Error(`The handler threw ${String(error)}`),
      });
      return;
    }
    this.#running++;
    const place = this.#place();
    output.then(
      (value) => {
        let response: IpcResponse;
        try {
          response = responseOf(clientId, requestId, value);
        } catch (error) {
          response = { clientId, requestId, error };
        }
        this.#onSettled(place, response);
      },
      (error: unknown) => {
        this.#onSettled(place, {
          clientId,
          requestId,
          error: error ?? new Error(`The handler rejected with ${String(error)}`),
        });
      },
    );
  }

  #place(): Place | undefined {
    if (!this.#inOrder) return undefined;
    const place: Place = { response: undefined };
    this.#places.push(place);
    return place;
  }

  #settle(place: Place | undefined, response: IpcResponse): void {
    if (place === undefined) {
      this.#out.next(response);
      return;
    }
    place.response = response;
    for (let next = this.#places.peek(); next?.response !== undefined; next = this.#places.peek()) {
      this.#places.shift();
      this.#out.next(next.response);
    }
  }

  #onSettled(place: Place | undefined, response: IpcResponse): void {
    this.#running--;
    this.#settle(place, response);
    this.#startWaiting();
    this.#completeWhenDone();
  }

  #startWaiting(): void {
    // A handler that answers at once comes back here from inside: one loop is enough.
    if (this.#starting) return;
    this.#starting = true;
    while (this.#running < this.#concurrency) {
      const request = this.#waiting.shift();
      if (request === undefined) break;
      // Cancelled, or its client left, while it waited: there is nothing to run, only to let go.
      if (request.signal.aborted) this.#out.next({ clientId: request.clientId, requestId: request.requestId });
      else this.#start(request);
    }
    this.#starting = false;
  }

  #completeWhenDone(): void {
    const running = this.#calling + this.#running + this.#waiting.length;
    if (this.#finished && running === 0) this.#out.complete();
  }
}

function isThenable(output: HandlerOutput | Promise<HandlerOutput>): output is Promise<HandlerOutput> {
  // Bytes first: they are the common case, and looking for a name in them is slow.
  return (
    !(output instanceof Uint8Array) &&
    typeof output === 'object' &&
    output !== null &&
    'then' in output &&
    typeof output.then === 'function'
  );
}

function responseOf(clientId: number, requestId: number, output: HandlerOutput): IpcResponse {
  if (output === undefined) return { clientId, requestId };
  if (output instanceof Uint8Array) return { clientId, requestId, data: output };
  if (isAsyncIterable(output) || isObservable(output)) return { clientId, requestId, items: output };
  throw new TypeError(
    `Expected the handler to return a Uint8Array, an Observable, an AsyncIterable or undefined, got ${show(output)}`,
  );
}
