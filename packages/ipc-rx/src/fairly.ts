import { Deque, type IpcRequest } from '@spanwire/ipc-core';
import type { MonoTypeOperatorFunction, Subscriber } from 'rxjs';
import { integerIn } from './arguments.ts';
import { canStart, refuse } from './never-started.ts';
import { serverSideOf } from './server-side.ts';
import { through } from './through.ts';

export interface FairlyOptions {
  /** How many requests of all clients may be with the pipeline at once. At least 1; default 64. Close to its `concurrency` is fairest. */
  readonly inFlight?: number | undefined;
}

/** Work in one go, after which the event loop gets a turn to read what other clients sent. */
const TURN_MS = 1;

/**
 * Lets clients take turns, one request each, so that a flood of one cannot starve the others.
 *
 *     requests   --(a1 a2 a3 a4)-b1-----|
 *     answers    --------A1----A2--B1---
 *     fairly({ inFlight: 1 })
 *     result     --a1----a2----b1--a3--a4|
 *
 * Requests pass at once while fewer than `inFlight` of all clients are unanswered; beyond it they wait, per client, and the clients take
 * turns. Handlers that answer at once are stopped after a millisecond of work, so that what others sent in the meantime is read first.
 * A stream counts until it starts; a request that is left unanswered on purpose (a long poll) keeps its place, so give those a route of their own.
 *
 * Memory: waiting requests stay unreleased. Backpressure: so they count against their client's window. What was cancelled while it waited
 * never starts. A pipeline that holds more than `inFlight` requests back until others come (a large `bufferCount`) needs a higher `inFlight`.
 *
 * Error: passes at once, and what waits is refused. Completion: after what waits. Unsubscribe: the source is left, and what waits was never
 * started: it is answered ERR_IPC_REFUSED.
 *
 * Throws TypeError or RangeError at once on bad options.
 *
 * @example
 * server.requests$.pipe(fairly({ inFlight: 8 }), handle(search, { concurrency: 8 })).subscribe(server.responses);
 */
export function fairly<T extends IpcRequest>(options: FairlyOptions = {}): MonoTypeOperatorFunction<T> {
  const inFlight = integerIn('inFlight', options.inFlight ?? 64, 1, Number.MAX_SAFE_INTEGER);
  return (requests$) =>
    through(requests$, (out) => {
      const turns = new Turns<T>(inFlight, out);
      out.add(() => turns.leave());
      return { next: (request) => turns.take(request), complete: () => turns.finish() };
    });
}

class Turns<T extends IpcRequest> {
  readonly #limit: number;
  readonly #out: Subscriber<T>;
  /** What waits of each client that has something waiting. */
  readonly #waiting = new Map<number, Deque<T>>();
  /** Those clients, the next one first. */
  readonly #next = new Deque<number>();
  #running = 0;
  #passing = false;
  #finished = false;
  /** The end of this turn of the event loop, while something passed in it. */
  #turn: NodeJS.Immediate | undefined;
  /** This turn has lasted long enough. */
  #resting = false;
  #passed = 0;
  #lookAt = 2;
  #beganMs = 0;

  constructor(limit: number, out: Subscriber<T>) {
    this.#limit = limit;
    this.#out = out;
  }

  take(request: T): void {
    if (this.#waiting.size === 0 && this.#running < this.#limit && this.#mayWork()) {
      this.#pass(request);
      return;
    }
    const { clientId } = request;
    const queue = this.#waiting.get(clientId);
    if (queue !== undefined) {
      queue.push(request);
      return;
    }
    const first = new Deque<T>();
    first.push(request);
    this.#waiting.set(clientId, first);
    this.#next.push(clientId);
  }

  finish(): void {
    this.#finished = true;
    this.#completeWhenDone();
  }

  /** Nobody takes anything any more. */
  leave(): void {
    clearImmediate(this.#turn);
    for (const queue of this.#waiting.values()) {
      for (const request of queue.drain()) if (canStart(request)) refuse(request);
    }
    this.#waiting.clear();
  }

  #pass(request: T): void {
    this.#running++;
    this.#out.next(request);
    // Afterwards: a request that was answered by now costs nothing to wait for.
    serverSideOf(request).whenDone(this.#onDone);
  }

  readonly #onDone = (): void => {
    this.#running--;
    if (this.#waiting.size > 0) this.#passWaiting();
  };

  #passWaiting(): void {
    // Each that passes may be done at once, which comes back here: one loop is enough.
    if (this.#passing) return;
    this.#passing = true;
    while (this.#waiting.size > 0 && this.#running < this.#limit && !this.#out.closed && this.#mayWork()) {
      const request = this.#takeNext();
      if (request !== undefined && canStart(request)) this.#pass(request);
    }
    this.#passing = false;
    this.#completeWhenDone();
  }

  #takeNext(): T | undefined {
    const clientId = this.#next.shift();
    const queue = clientId === undefined ? undefined : this.#waiting.get(clientId);
    if (clientId === undefined || queue === undefined) return undefined;
    const request = queue.shift();
    if (queue.length === 0) this.#waiting.delete(clientId);
    else this.#next.push(clientId);
    return request;
  }

  /** False when this turn has lasted long enough. Reading the clock costs more than a fast handler, so it is looked at now and then. */
  #mayWork(): boolean {
    if (this.#resting) return false;
    if (this.#turn === undefined) {
      this.#beganMs = performance.now();
      this.#turn = setImmediate(this.#onTurn);
    }
    if (++this.#passed < this.#lookAt) return true;
    // At 2, 4, 8, 16 and then every 16: a slow handler is noticed after itself, fast ones hardly pay.
    this.#lookAt += Math.min(this.#lookAt, 16);
    this.#resting = performance.now() - this.#beganMs >= TURN_MS;
    return !this.#resting;
  }

  readonly #onTurn = (): void => {
    this.#turn = undefined;
    this.#resting = false;
    this.#passed = 0;
    this.#lookAt = 2;
    if (this.#waiting.size > 0) this.#passWaiting();
  };

  #completeWhenDone(): void {
    if (this.#finished && this.#waiting.size === 0) this.#out.complete();
  }
}
