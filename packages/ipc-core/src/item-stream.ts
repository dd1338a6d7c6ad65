/** A stream of items that can be subscribed to, or iterated with backpressure. */
import { Observable, type Subscriber, type TeardownLogic } from 'rxjs';
import type { Bytes, ItemStream } from './contract.ts';

export class HybridStream extends Observable<Bytes> implements ItemStream {
  readonly #iterate: () => AsyncIterator<Bytes>;

  constructor(subscribe: (subscriber: Subscriber<Bytes>) => TeardownLogic, iterate: () => AsyncIterator<Bytes>) {
    super(subscribe);
    this.#iterate = iterate;
  }

  [Symbol.asyncIterator](): AsyncIterator<Bytes> {
    return this.#iterate();
  }
}

/** An iterator that starts with the first `next()`: whoever only asks for it and goes away leaves nothing behind. */
export function iterateLazily(start: () => AsyncIterator<Bytes>): AsyncIterator<Bytes, undefined> {
  let items: AsyncIterator<Bytes> | undefined;
  let left = false;
  return {
    next: () => {
      if (left) return Promise.resolve({ done: true, value: undefined });
      items ??= start();
      return items.next();
    },
    return: async () => {
      left = true;
      await items?.return?.();
      return { done: true, value: undefined };
    },
  };
}
