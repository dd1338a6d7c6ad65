/**
 * The sending half of an Observable (or AsyncIterable) between processes. Each subscription on the other side opens a feed here. The feed
 * calls the subscriber's sink with batches of items, and the answers to those calls are its credit: a consumer that is slower keeps at most
 * a window of items and bytes under way.
 */
import { Deque, type Overflow } from '@spanwire/ipc-core';
import { RpcTarget, type RpcStub } from 'capnweb';
import type { Observable, Subscription } from 'rxjs';
import { SlowSubscriberError } from './error-wire.ts';
import { traffic } from './traffic.ts';

/** What a subscriber offers its feed. All calls are made in order. */
export interface SinkTarget extends RpcTarget {
  /** Resolves when the items are consumed. */
  next(items: unknown[]): void | Promise<void>;
  error(error: unknown): void;
  complete(): void;
}

export type SinkStub = RpcStub<SinkTarget>;
export type StreamInput = Observable<unknown> | AsyncIterable<unknown>;

/** Items and bytes that may be under way to one subscriber. One batch may overshoot. */
const WINDOW_ITEMS = 256;
const WINDOW_BYTES: number = 256 * 1024;
const BATCH_ITEMS = 64;
const BATCH_BYTES: number = 64 * 1024;
/** Items of an Observable that may wait for a slower subscriber. */
const BUFFER_ITEMS = 1024;

/** What crosses for a stream: the other side opens a feed for each subscription. */
export class StreamSource extends RpcTarget {
  readonly #input: StreamInput;
  readonly #overflow: Overflow;

  constructor(input: StreamInput, overflow: Overflow) {
    super();
    this.#input = input;
    this.#overflow = overflow;
  }

  /** Starts a subscription that lives until it ends or the returned feed is disposed, as it is when the connection breaks. */
  open(sink: SinkStub): Feed {
    // The argument is disposed when this call returns.
    return new Feed(this.#input, sink.dup(), this.#overflow);
  }
}

/** One subscription. */
class Feed extends RpcTarget {
  readonly #sink: SinkStub;
  readonly #overflow: Overflow;
  readonly #buffer = new Deque<unknown>();
  #subscription: Subscription | undefined;
  #iterator: AsyncIterator<unknown> | undefined;
  #pulling = false;
  #end: { readonly error: unknown; readonly failed: boolean } | undefined;
  #itemsUnderWay = 0;
  #bytesUnderWay = 0;
  /** Of the last batch, rounded up: how large the next ones may be is told from it. The first has one item. */
  #bytesPerItem: number = BATCH_BYTES;
  #scheduled = false;
  #stopped = false;

  constructor(input: StreamInput, sink: SinkStub, overflow: Overflow) {
    super();
    this.#sink = sink;
    this.#overflow = overflow;
    if (isAsyncIterable(input)) {
      this.#iterator = input[Symbol.asyncIterator]();
      this.#pull();
      return;
    }
    const subscription = input.subscribe({
      next: (item) => this.#onNext(item),
      error: (error: unknown) => this.#finish(error, true),
      complete: () => this.#finish(undefined, false),
    });
    if (this.#stopped || this.#end !== undefined) subscription.unsubscribe();
    else this.#subscription = subscription;
  }

  [Symbol.dispose](): void {
    if (this.#stopped) return;
    this.#stopped = true;
    this.#buffer.drain();
    this.#stopSource();
    this.#sink[Symbol.dispose]();
  }

  #onNext(item: unknown): void {
    if (this.#stopped || this.#end !== undefined) return;
    if (this.#buffer.length >= BUFFER_ITEMS) {
      if (this.#overflow === 'drop-newest') return;
      if (this.#overflow === 'error') {
        this.#buffer.drain();
        this.#finish(new SlowSubscriberError(BUFFER_ITEMS), true);
        return;
      }
      this.#buffer.shift();
    }
    this.#buffer.push(item);
    if (this.#buffer.length >= BATCH_ITEMS) this.#pump();
    else this.#schedule();
  }

  /** Items of one turn go out together. */
  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    queueMicrotask(() => {
      this.#scheduled = false;
      this.#pump();
    });
  }

  #pump(): void {
    while (!this.#stopped && this.#buffer.length > 0 && this.#hasCredit()) {
      const fitting = Math.floor(BATCH_BYTES / this.#bytesPerItem);
      const count = Math.max(
        1,
        Math.min(fitting, BATCH_ITEMS, WINDOW_ITEMS - this.#itemsUnderWay, this.#buffer.length),
      );
      const batch: unknown[] = [];
      while (batch.length < count) batch.push(this.#buffer.shift());
      this.#send(batch);
    }
    if (this.#stopped || this.#buffer.length > 0) return;
    if (this.#end !== undefined) this.#sendEnd(this.#end);
    else this.#pull();
  }

  #hasCredit(): boolean {
    return this.#itemsUnderWay < WINDOW_ITEMS && this.#bytesUnderWay < WINDOW_BYTES;
  }

  #send(batch: unknown[]): void {
    const before = traffic.sentBytes;
    let consumed: PromiseLike<unknown>;
    try {
      consumed = this.#sink.next(batch);
    } catch (error) {
      // An item that cannot cross, such as a Map.
      this.#buffer.drain();
      this.#finish(error, true);
      return;
    }
    const bytes = traffic.sentBytes - before;
    this.#bytesPerItem = Math.ceil(bytes / batch.length) + 1;
    this.#itemsUnderWay += batch.length;
    this.#bytesUnderWay += bytes;
    consumed.then(
      () => {
        this.#itemsUnderWay -= batch.length;
        this.#bytesUnderWay -= bytes;
        this.#pump();
      },
      () => this[Symbol.dispose](),
    );
  }

  #sendEnd(end: { readonly error: unknown; readonly failed: boolean }): void {
    this.#stopped = true;
    const told: PromiseLike<unknown> = end.failed ? this.#sink.error(end.error) : this.#sink.complete();
    const done = (): void => this.#sink[Symbol.dispose]();
    told.then(done, done);
  }

  #pull(): void {
    const iterator = this.#iterator;
    if (iterator === undefined || this.#pulling || !this.#hasCredit()) return;
    this.#pulling = true;
    void this.#pullFrom(iterator);
  }

  async #pullFrom(iterator: AsyncIterator<unknown>): Promise<void> {
    try {
      const result = await iterator.next();
      this.#pulling = false;
      if (this.#stopped) return;
      if (result.done === true) {
        this.#iterator = undefined;
        this.#finish(undefined, false);
      } else {
        this.#buffer.push(result.value);
        this.#pump();
      }
    } catch (error) {
      this.#pulling = false;
      this.#iterator = undefined;
      this.#finish(error, true);
    }
  }

  #finish(error: unknown, failed: boolean): void {
    if (this.#stopped || this.#end !== undefined) return;
    this.#end = { error, failed };
    this.#stopSource();
    this.#schedule();
  }

  #stopSource(): void {
    const iterator = this.#iterator;
    this.#subscription?.unsubscribe();
    this.#subscription = undefined;
    this.#iterator = undefined;
    // What the source's own clean-up throws has nobody left to be told to.
    if (iterator?.return !== undefined) void Promise.resolve(iterator.return()).catch(ignore);
  }
}

export function isAsyncIterable(value: object): value is AsyncIterable<unknown> {
  return Symbol.asyncIterator in value;
}

function ignore(): void {}
