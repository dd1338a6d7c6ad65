/** Sources of items, and what comes of them. */
import { lastValueFrom, toArray, type Observable } from 'rxjs';
import type { Bytes } from '../contract.ts';

/** All items of a stream. */
export function itemsOf(items$: Observable<Bytes>): Promise<Bytes[]> {
  return lastValueFrom(items$.pipe(toArray()));
}

/** A source that counts what is pulled, of `count` items. */
export class PulledItems {
  pulled = 0;
  returned = 0;
  readonly #count: number;
  readonly #make: (index: number) => Uint8Array;

  constructor(count: number, make: (index: number) => Uint8Array) {
    this.#count = count;
    this.#make = make;
  }

  [Symbol.asyncIterator](): AsyncIterator<Uint8Array> {
    return {
      next: () => {
        if (this.pulled === this.#count) return Promise.resolve({ done: true, value: undefined });
        return Promise.resolve({ done: false, value: this.#make(this.pulled++) });
      },
      return: () => {
        this.returned++;
        return Promise.resolve({ done: true, value: undefined });
      },
    };
  }
}
