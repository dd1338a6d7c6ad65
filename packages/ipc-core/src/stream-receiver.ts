/**
 * Receives one stream of items. Items wait, bounded by the credit that was given, until somebody takes them; credit goes back as they are
 * taken: a subscriber takes them as fast as they come, an iterator one by one.
 */
import type { Subscriber } from 'rxjs';
import type { Bytes, ItemStream } from './contract.ts';
import { Deque } from './deque.ts';
import { ProtocolError } from './errors.ts';
import { HybridStream } from './item-stream.ts';
import { itemCost } from './stream-credit.ts';

/** An iterator's `next()` that waits for an item. */
interface Taker {
  resolve(result: IteratorResult<Bytes, undefined>): void;
  reject(error: unknown): void;
}

const DONE: IteratorReturnResult<undefined> = { done: true, value: undefined };

export class StreamReceiver {
  readonly #windowBytes: number;
  readonly #giveCredit: (bytes: number) => void;
  readonly #onAbandoned: () => void;
  readonly #queue = new Deque<Bytes>();
  /** Cost of items received for which no credit has been given back. */
  #outstanding = 0;
  #owed = 0;
  #end: { readonly error: unknown } | 'complete' | undefined;
  #subscriber: Subscriber<Bytes> | undefined;
  #takers: Taker[] = [];
  #taken = false;
  #abandoned = false;
  #draining = false;

  /** `onAbandoned`: the consumer left before the end. */
  constructor(windowBytes: number, giveCredit: (bytes: number) => void, onAbandoned: () => void) {
    this.#windowBytes = windowBytes;
    this.#giveCredit = giveCredit;
    this.#onAbandoned = onAbandoned;
  }

  /** An item came. Throws ProtocolError when the peer had no credit for it. */
  push(item: Bytes): void {
    if (this.#outstanding >= this.#windowBytes) {
      throw new ProtocolError(`Expected items within the credit of ${this.#windowBytes} bytes, got more`);
    }
    this.#outstanding += itemCost(item.length);
    if (this.#abandoned || this.#end !== undefined) return;
    const taker = this.#takers.shift();
    if (taker !== undefined) {
      this.#consumed(itemCost(item.byteLength));
      taker.resolve({ done: false, value: item });
      return;
    }
    this.#queue.push(item);
    this.#drain();
  }

  /** The stream ended. What waits is still delivered. */
  end(): void {
    this.#finish('complete');
  }

  /** The stream failed. What waits is still delivered before the error. */
  fail(error: unknown): void {
    this.#finish({ error });
  }

  /** The stream for one subscriber or one loop; who leaves early abandons the stream. */
  readonly items$: ItemStream = new HybridStream(
    (subscriber) => this.subscribe(subscriber),
    () => this.iterate(),
  );

  /** Delivers to `subscriber` until the end. */
  subscribe(subscriber: Subscriber<Bytes>): (() => void) | undefined {
    if (this.#taken) {
      subscriber.error(secondConsumer());
      return undefined;
    }
    this.#taken = true;
    this.#subscriber = subscriber;
    this.#drain();
    return () => this.abandon();
  }

  /** Delivers one by one, until the end. */
  iterate(): AsyncIterator<Bytes, undefined> {
    if (this.#taken) throw secondConsumer();
    this.#taken = true;
    return {
      next: () => this.#take(),
      return: () => {
        this.abandon();
        return Promise.resolve(DONE);
      },
    };
  }

  /** The consumer leaves. */
  abandon(): void {
    if (this.#abandoned) return;
    this.#abandoned = true;
    this.#subscriber = undefined;
    this.#queue.drain();
    for (const taker of this.#takers.splice(0)) taker.resolve(DONE);
    if (this.#end === undefined) this.#onAbandoned();
  }

  #take(): Promise<IteratorResult<Bytes, undefined>> {
    const item = this.#queue.shift();
    if (item !== undefined) {
      this.#consumed(itemCost(item.byteLength));
      return Promise.resolve({ done: false, value: item });
    }
    if (this.#end === undefined && !this.#abandoned) {
      return new Promise((resolve, reject) => this.#takers.push({ resolve, reject }));
    }
    if (this.#end === undefined || this.#end === 'complete' || this.#abandoned) return Promise.resolve(DONE);
    // As of a generator: the error once, and then the end.
    const { error } = this.#end;
    this.#end = 'complete';
    return Promise.reject(error);
  }

  #finish(end: { readonly error: unknown } | 'complete'): void {
    if (this.#end !== undefined) return;
    this.#end = end;
    const [first, ...others] = this.#takers.splice(0);
    if (first === undefined) {
      this.#drain();
      return;
    }
    if (end === 'complete') {
      first.resolve(DONE);
    } else {
      this.#end = 'complete';
      first.reject(end.error);
    }
    for (const other of others) other.resolve(DONE);
  }

  #drain(): void {
    if (this.#draining || this.#subscriber === undefined) return;
    this.#draining = true;
    try {
      // A subscriber may unsubscribe while it is given an item.
      for (let subscriber: Subscriber<Bytes> | undefined; (subscriber = this.#subscriber) !== undefined;) {
        const item = this.#queue.shift();
        if (item === undefined) {
          if (this.#end === undefined) return;
          this.#subscriber = undefined;
          if (this.#end === 'complete') subscriber.complete();
          else subscriber.error(this.#end.error);
          return;
        }
        subscriber.next(item);
        this.#consumed(itemCost(item.length));
      }
    } finally {
      this.#draining = false;
    }
  }

  /** Credit goes back in portions of a quarter of the window: below that, the sender still has three quarters. */
  #consumed(cost: number): void {
    if (this.#abandoned || this.#end !== undefined) return;
    this.#owed += cost;
    if (this.#owed * 4 < this.#windowBytes) return;
    const bytes = this.#owed;
    this.#owed = 0;
    this.#outstanding -= bytes;
    this.#giveCredit(bytes);
  }
}

function secondConsumer(): TypeError {
  return new TypeError('Expected one subscriber or loop of this stream, got a second one');
}
