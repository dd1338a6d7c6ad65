/** Items of a subscription, one by one as they are asked for. */
import { Deque } from '@spanwire/ipc-core';
import { RpcTarget } from 'capnweb';
import type { SinkTarget } from './stream-source.ts';

/** Subscribes `sink`; the returned function unsubscribes it. */
export type Subscribe = (sink: SinkTarget, fail: (error: unknown) => void) => () => void;

/**
 * Subscribes with the first `next()`. Not an async generator: the `return()` of one waits for a `next()` that is under way, and the next
 * item may never come.
 */
export class PullIterator<T> implements AsyncIterableIterator<T, undefined> {
  readonly #sink = new PullSink<T>();
  #subscribe: Subscribe | undefined;
  #unsubscribe: (() => void) | undefined;

  constructor(subscribe: Subscribe) {
    this.#subscribe = subscribe;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  next(): Promise<IteratorResult<T, undefined>> {
    const subscribe = this.#subscribe;
    this.#subscribe = undefined;
    if (subscribe !== undefined) this.#unsubscribe = subscribe(this.#sink, (error) => this.#sink.error(error));
    return this.#sink.take();
  }

  return(): Promise<IteratorResult<T, undefined>> {
    this.#subscribe = undefined;
    this.#unsubscribe?.();
    this.#sink.letGo();
    return Promise.resolve({ done: true, value: undefined });
  }
}

interface Taker<T> {
  readonly resolve: (result: IteratorResult<T, undefined>) => void;
  readonly reject: (error: unknown) => void;
}

/** Holds credit back until the items were asked for. */
class PullSink<T> extends RpcTarget implements SinkTarget {
  readonly #items = new Deque<T>();
  readonly #takers = new Deque<Taker<T>>();
  /** Resolved when the items that came with a call were taken. */
  readonly #calls = new Deque<{ readonly resolve: () => void; left: number }>();
  #end: { readonly error: unknown; failed: boolean } | undefined;

  next(items: unknown[]): Promise<void> {
    if (this.#end !== undefined) return Promise.resolve();
    return new Promise((resolve) => {
      this.#calls.push({ resolve, left: items.length });
      for (const item of items) this.#items.push(item as T);
      this.#match();
    });
  }

  error(error: unknown): void {
    this.#end ??= { error, failed: true };
    this.#match();
  }

  complete(): void {
    this.#end ??= { error: undefined, failed: false };
    this.#match();
  }

  take(): Promise<IteratorResult<T, undefined>> {
    return new Promise((resolve, reject) => {
      this.#takers.push({ resolve, reject });
      this.#match();
    });
  }

  /** Nobody will take the rest. */
  letGo(): void {
    this.#items.drain();
    for (const call of this.#calls.drain()) call.resolve();
    this.#end = { error: undefined, failed: false };
    this.#match();
  }

  #match(): void {
    while (this.#takers.length > 0 && this.#items.length > 0) {
      const value = this.#items.shift() as T;
      const call = this.#calls.peek();
      if (call !== undefined && --call.left === 0) {
        this.#calls.shift();
        call.resolve();
      }
      this.#takers.shift()?.resolve({ done: false, value });
    }
    const end = this.#end;
    if (end === undefined || this.#items.length > 0) return;
    for (const taker of this.#takers.drain()) {
      // As a generator does it: the error once, then the end.
      if (end.failed) taker.reject(end.error);
      else taker.resolve({ done: true, value: undefined });
      end.failed = false;
    }
  }
}
