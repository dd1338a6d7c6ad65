import { setMaxListeners } from 'node:events';
import { Deque, type IpcRequest } from '@spanwire/ipc-core';
import type { MonoTypeOperatorFunction, Subscriber } from 'rxjs';
import { integerIn, oneOf } from './arguments.ts';
import { canStart, refuse } from './never-started.ts';
import { serverSideOf } from './server-side.ts';
import { through } from './through.ts';

export interface LimitOptions {
  /** What the limit applies to: each client (the default), or all clients together. */
  readonly per?: 'client' | 'server' | undefined;
}

/**
 * Passes at most `limit` requests on that are not answered yet, per client or in all; the others wait, in order.
 *
 *     requests   --a-b-c------------|
 *     answers    --------A-----B-C--      (given to the sink)
 *     limitInFlight(2)
 *     result     --a-b---c----------|
 *
 * A request makes room when its answer is given to the sink (a stream: when it starts), when it was cancelled and is released, or when
 * its client leaves.
 *
 * Memory: waiting requests stay unreleased. Backpressure: so they count against their client's window, and a client beyond it waits; with
 * `per: 'server'` the waiting requests are those of all clients, each within its own window. What was cancelled while it waited never starts.
 *
 * Error: passes at once, and what waits is refused. Completion: after what waits. Unsubscribe: the source is left, and what waits was never
 * started: it is answered ERR_IPC_REFUSED. A pipeline that holds requests back until more of them come must not be limited below that.
 *
 * Throws TypeError or RangeError at once unless `limit` is an integer of at least 1.
 *
 * @example
 * server.requests$.pipe(limitInFlight(4), handle(search)).subscribe(server.responses); // four searches per client
 */
export function limitInFlight<T extends IpcRequest>(
  limit: number,
  options: LimitOptions = {},
): MonoTypeOperatorFunction<T> {
  integerIn('limit', limit, 1, Number.MAX_SAFE_INTEGER);
  const per = oneOf('per', options.per, ['client', 'server'], 'client');
  return (requests$) =>
    through(requests$, (out) => {
      const limiter = new Limiter<T>(limit, per === 'client', out);
      out.add(() => limiter.leave());
      return { next: (request) => limiter.take(request), complete: () => limiter.finish() };
    });
}

/** What shares one limit. */
class Lane<T> {
  running = 0;
  passing = false;
  readonly waiting = new Deque<T>();
}

class Limiter<T extends IpcRequest> {
  readonly #limit: number;
  readonly #out: Subscriber<T>;
  /** The one lane of all clients, or one for each. */
  readonly #shared: Lane<T> | undefined;
  readonly #lanes = new Map<number, Lane<T>>();
  readonly #left = new AbortController();
  #waiting = 0;
  #finished = false;

  constructor(limit: number, perClient: boolean, out: Subscriber<T>) {
    this.#limit = limit;
    this.#out = out;
    this.#shared = perClient ? undefined : new Lane();
    // One listener per client.
    setMaxListeners(0, this.#left.signal);
  }

  take(request: T): void {
    const lane = this.#laneOf(request);
    if (lane.running < this.#limit && lane.waiting.length === 0) {
      this.#pass(lane, request);
    } else {
      this.#waiting++;
      lane.waiting.push(request);
    }
  }

  finish(): void {
    this.#finished = true;
    this.#completeWhenDone();
  }

  /** Nobody takes anything any more. */
  leave(): void {
    this.#left.abort();
    for (const lane of this.#shared === undefined ? this.#lanes.values() : [this.#shared]) {
      for (const request of lane.waiting.drain()) if (canStart(request)) refuse(request);
    }
  }

  #laneOf(request: T): Lane<T> {
    if (this.#shared !== undefined) return this.#shared;
    const { clientId } = request;
    let lane = this.#lanes.get(clientId);
    if (lane === undefined) {
      lane = new Lane();
      this.#lanes.set(clientId, lane);
      const { clientSignal } = serverSideOf(request);
      clientSignal.addEventListener('abort', () => this.#forget(clientId), { once: true, signal: this.#left.signal });
    }
    return lane;
  }

  /** The client left: all it had is done, and what waits of it cannot start. */
  #forget(clientId: number): void {
    this.#waiting -= this.#lanes.get(clientId)?.waiting.length ?? 0;
    this.#lanes.delete(clientId);
    this.#completeWhenDone();
  }

  #pass(lane: Lane<T>, request: T): void {
    lane.running++;
    this.#out.next(request);
    // Afterwards: a request that was answered by now costs nothing to wait for.
    serverSideOf(request).whenDone(() => {
      lane.running--;
      this.#passWaiting(lane);
    });
  }

  #passWaiting(lane: Lane<T>): void {
    // Each that passes may be done at once, which comes back here: one loop is enough.
    if (lane.passing) return;
    lane.passing = true;
    while (lane.running < this.#limit && !this.#out.closed) {
      const request = lane.waiting.shift();
      if (request === undefined) break;
      this.#waiting--;
      if (canStart(request)) this.#pass(lane, request);
    }
    lane.passing = false;
    this.#completeWhenDone();
  }

  #completeWhenDone(): void {
    if (this.#finished && this.#waiting === 0) this.#out.complete();
  }
}
