/** Sources that can be taken one item at a time, and what turns other sources into such. */
import { Deque, IpcError } from '@spanwire/ipc-core';
import { Observable, type Subscription } from 'rxjs';
import { show } from './arguments.ts';

/** Can be subscribed to (takes items as they come) or iterated (one at a time, so a slow loop slows the source down). */
export interface Pullable<T> extends Observable<T>, AsyncIterable<T> {}

/** How far an Observable, which cannot be slowed down, may be ahead of whoever takes its items one at a time. */
export const MAX_AHEAD = 1024;

class PullableObservable<T> extends Observable<T> implements Pullable<T> {
  readonly #iterate: () => AsyncIterator<T>;

  constructor(iterate: () => AsyncIterator<T>) {
    super((subscriber) => {
      const items = iterate();
      const pump = async (): Promise<void> => {
        while (!subscriber.closed) {
          const result = await items.next();
          if (result.done === true) subscriber.complete();
          else subscriber.next(result.value);
        }
      };
      pump().catch((error: unknown) => subscriber.error(error));
      return () => leave(items);
    });
    this.#iterate = iterate;
  }

  [Symbol.asyncIterator](): AsyncIterator<T> {
    return this.#iterate();
  }
}

/** A {@link Pullable} of what `iterate` gives; each subscription and each loop calls it. */
export function pullable<T>(iterate: () => AsyncIterator<T>): Pullable<T> {
  return new PullableObservable(iterate);
}

/** Whether `source` can be taken one item at a time. */
export function isAsyncIterable<T>(source: unknown): source is AsyncIterable<T> {
  return typeof source === 'object' && source !== null && Symbol.asyncIterator in source;
}

/** Ends an iterator early; what its clean-up throws has no one left to tell. */
export function leave(items: AsyncIterator<unknown>): void {
  try {
    Promise.resolve(items.return?.()).catch(ignore);
  } catch {
    // As above, of one that throws synchronously.
  }
}

/**
 * The items of `source`, one at a time. An Observable is subscribed to at the first `next()`; one that gets more than `maxAhead` items ahead
 * fails with ERR_IPC_OVERLOADED.
 */
export function iteratorOf<T>(source: AsyncIterable<T> | Observable<T>, maxAhead: number): AsyncIterator<T, undefined> {
  if (isAsyncIterable<T>(source)) return source[Symbol.asyncIterator]() as AsyncIterator<T, undefined>;
  if (typeof source !== 'object' || source === null || typeof source.subscribe !== 'function') {
    throw new TypeError(`Expected an Observable or an AsyncIterable, got ${show(source)}`);
  }
  return new Taken(source, maxAhead);
}

/** `source` with `project` applied to each item. Ends early also while an item is awaited, as a generator would not. */
export function mapIterable<T, R>(source: AsyncIterable<T>, project: (item: T) => R): AsyncIterable<R> {
  return {
    [Symbol.asyncIterator]: () => {
      const items = source[Symbol.asyncIterator]();
      return {
        next: async () => {
          const result = await items.next();
          if (result.done === true) return { done: true, value: undefined };
          try {
            return { done: false, value: project(result.value) };
          } catch (error) {
            leave(items);
            throw error;
          }
        },
        return: () => {
          leave(items);
          return Promise.resolve({ done: true, value: undefined });
        },
      };
    },
  };
}

interface Taker<T> {
  resolve(result: IteratorResult<T, undefined>): void;
  reject(error: unknown): void;
}

/** Takes an Observable item by item, from a queue with a bound. */
export class Taken<T> implements AsyncIterableIterator<T, undefined> {
  readonly #source: Observable<T>;
  readonly #maxAhead: number;
  readonly #waiting = new Deque<T>();
  #takers: Array<Taker<T>> = [];
  #end: 'complete' | { readonly error: unknown } | undefined;
  #subscription: Subscription | undefined;
  #started = false;

  constructor(source: Observable<T>, maxAhead: number) {
    this.#source = source;
    this.#maxAhead = maxAhead;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  next(): Promise<IteratorResult<T, undefined>> {
    this.#start();
    while (this.#waiting.length > 0) {
      const item = this.#waiting.shift() as T;
      if (this.canDeliver(item)) return Promise.resolve({ done: false, value: item });
    }
    if (this.#end === undefined) return new Promise((resolve, reject) => this.#takers.push({ resolve, reject }));
    if (this.#end === 'complete') return Promise.resolve({ done: true, value: undefined });
    // As of a generator: the error once, and then the end.
    const { error } = this.#end;
    this.#end = 'complete';
    return Promise.reject(error);
  }

  return(): Promise<IteratorResult<T, undefined>> {
    this.#started = true;
    this.#finish('complete');
    this.#end = 'complete';
    this.#subscription?.unsubscribe();
    for (const item of this.#waiting.drain()) this.drop(item);
    return Promise.resolve({ done: true, value: undefined });
  }

  /** Whether an item that waited can still be delivered. */
  protected canDeliver(_item: T): boolean {
    return true;
  }

  /** The loop was left before it took this item. */
  protected drop(_item: T): void {}

  #start(): void {
    if (this.#started) return;
    this.#started = true;
    const subscription = this.#source.subscribe({
      next: (item) => this.#push(item),
      error: (error: unknown) => this.#finish({ error }),
      complete: () => this.#finish('complete'),
    });
    if (this.#end === undefined) this.#subscription = subscription;
    else subscription.unsubscribe();
  }

  #push(item: T): void {
    if (this.#end !== undefined) {
      this.drop(item);
      return;
    }
    const taker = this.#takers.shift();
    if (taker !== undefined) {
      taker.resolve({ done: false, value: item });
      return;
    }
    if (this.#waiting.length >= this.#maxAhead) {
      this.drop(item);
      const message = `Expected a consumer at most ${this.#maxAhead} items behind its Observable, got one further behind`;
      this.#finish({ error: new IpcError('ERR_IPC_OVERLOADED', message) });
      this.#subscription?.unsubscribe();
      return;
    }
    this.#waiting.push(item);
  }

  #finish(end: 'complete' | { readonly error: unknown }): void {
    if (this.#end !== undefined) return;
    this.#end = end;
    const [first, ...others] = this.#takers.splice(0);
    if (first === undefined) return;
    if (end === 'complete') {
      first.resolve({ done: true, value: undefined });
    } else {
      this.#end = 'complete';
      first.reject(end.error);
    }
    for (const other of others) other.resolve({ done: true, value: undefined });
  }
}

function ignore(): void {}
