import { Deque, TimeoutError, type IpcRequest, type RequestOrigin } from '@spanwire/ipc-core';
import type { MonoTypeOperatorFunction } from 'rxjs';
import { milliseconds, show } from './arguments.ts';
import { serverSideOf } from './server-side.ts';
import { through } from './through.ts';

/**
 * Gives each request `ms` milliseconds for its answer, after which its client's call fails with ERR_IPC_TIMEOUT.
 *
 *     requests   --a----------b----------|
 *     deadline(6)        x          x
 *     result     --a----------b----------|      x: answered for a and b, their signals abort
 *
 * The clock starts when the request has been passed on, and stops when its answer is given to the sink (a stream: when it starts). At the deadline
 * `request.signal` aborts, so that a handler can stop its work; what it answers after that is dropped. A client may give a deadline of its own
 * (`timeoutMs`), which holds as well. `ms` is from 1 to 2^31 - 1. A plain client knows no errors: its connection closes.
 *
 * Memory: one entry per request until it is answered; one timer for all. Backpressure: passes through. A request that was answered for its
 * handler still holds its span until the handler answers or releases it.
 *
 * Error, completion and unsubscribe pass through; deadlines of requests that passed still hold.
 *
 * Throws TypeError or RangeError at once on a bad `ms`.
 *
 * @example
 * server.requests$
 *   .pipe(deadline(2_000), handle((_clientId, request, { signal }) => search(new Uint8Array(request), signal)))
 *   .subscribe(server.responses);
 */
export function deadline<T extends IpcRequest>(ms: number): MonoTypeOperatorFunction<T> {
  if (milliseconds('ms', ms) === undefined || ms < 1) {
    throw new RangeError(`Expected \`ms\` to be a number of milliseconds from 1 to 2147483647, got ${show(ms)}`);
  }
  return (requests$) =>
    through(requests$, (out) => {
      const deadlines = new Deadlines(ms);
      return {
        next: (request) => {
          const origin = serverSideOf(request);
          out.next(request);
          // Most are answered by now, and reading the clock costs more than a fast handler.
          if (origin.ended) return;
          const place = deadlines.add(origin, performance.now() + ms);
          origin.whenDone(() => deadlines.forget(place));
        },
      };
    });
}

interface Place {
  readonly dueMs: number;
  /** Undefined once it is done. */
  origin: RequestOrigin | undefined;
}

/** All have the same time, so they come due in the order in which they came: a queue, and one timer for its head. */
class Deadlines {
  readonly #ms: number;
  readonly #places = new Deque<Place>();
  #open = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(ms: number) {
    this.#ms = ms;
  }

  add(origin: RequestOrigin, dueMs: number): Place {
    const place: Place = { dueMs, origin };
    this.#open++;
    this.#places.push(place);
    this.#arm();
    return place;
  }

  forget(place: Place): void {
    if (place.origin === undefined) return;
    place.origin = undefined;
    this.#open--;
    while (this.#places.length > 0 && this.#places.peek()?.origin === undefined) this.#places.shift();
    // Behind a slow one, those that are done would pile up.
    if (this.#places.length > 64 + 2 * this.#open) {
      const open = this.#places.drain().filter((each) => each.origin !== undefined);
      for (const each of open) this.#places.push(each);
    }
  }

  #arm(): void {
    const first = this.#places.peek();
    if (first === undefined || this.#timer !== undefined) return;
    this.#timer = setTimeout(() => this.#onDue(), Math.max(1, Math.ceil(first.dueMs - performance.now())));
    // A deadline alone is no reason to stay alive: whoever waits for the answer is.
    this.#timer.unref();
  }

  #onDue(): void {
    this.#timer = undefined;
    const now = performance.now();
    for (let first = this.#places.peek(); first !== undefined && first.dueMs <= now; first = this.#places.peek()) {
      this.#places.shift();
      const { origin } = first;
      if (origin === undefined) continue;
      first.origin = undefined;
      this.#open--;
      origin.fail(new TimeoutError(`Expected the server to answer within its ${this.#ms} ms, got no answer`, this.#ms));
    }
    this.#arm();
  }
}
