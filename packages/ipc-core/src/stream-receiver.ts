/**
 * Receives one stream of items. Items wait, bounded by the credit that was given, until somebody takes them; credit goes back as they are
 * taken, and an Observable takes them as fast as they come once it is subscribed.
 */
import { Observable, type Subscriber } from 'rxjs';
import type { Bytes } from './contract.ts';
import { Deque } from './deque.ts';
import { ProtocolError } from './errors.ts';
import { itemCost } from './stream-credit.ts';

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
  #subscribed = false;
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

  /** The stream as an Observable for one subscriber; unsubscribing early abandons the stream. */
  readonly items$: Observable<Bytes> = new Observable<Bytes>((subscriber) => this.subscribe(subscriber));

  /** Delivers to `subscriber` until the end. */
  subscribe(subscriber: Subscriber<Bytes>): (() => void) | undefined {
    if (this.#subscribed) {
      subscriber.error(new TypeError('Expected one subscriber of this stream, got a second one'));
      return undefined;
    }
    this.#subscribed = true;
    this.#subscriber = subscriber;
    this.#drain();
    return () => this.abandon();
  }

  /** The consumer leaves. */
  abandon(): void {
    if (this.#abandoned) return;
    this.#abandoned = true;
    this.#subscriber = undefined;
    this.#queue.drain();
    if (this.#end === undefined) this.#onAbandoned();
  }

  #finish(end: { readonly error: unknown } | 'complete'): void {
    if (this.#end !== undefined) return;
    this.#end = end;
    this.#drain();
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
