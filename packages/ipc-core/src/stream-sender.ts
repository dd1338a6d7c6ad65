/**
 * Sends one stream of items: a handler's answer, or the input of a duplex request. AsyncIterables are pulled only on credit;
 * Observables buffer to a bound. It never has more than one item in the lane's queue, so streams and answers take turns.
 */
import { Observable, type Subscription } from 'rxjs';
import { copyOf } from './bytes.ts';
import type { DataLane, LaneEntry } from './data-lane.ts';
import { encodeFailure, encodeOwnError } from './error-frame.ts';
import { IpcError } from './errors.ts';
import { KIND_END, KIND_ERROR, KIND_ITEM } from './frame.ts';
import { show, type Overflow } from './options.ts';
import { itemCost, OVERFLOW_ITEMS } from './stream-credit.ts';
import { Deque } from './deque.ts';

const NO_BYTES: Uint8Array = new Uint8Array(0);

/** What the owner of a stream learns. */
export interface StreamSenderHost {
  /** The terminal frame is out, or will never be (`stop`). Once. */
  onFinished(): void;
  /** An item or terminal frame is out or queued. */
  onSent(bytes: number): void;
  /** An item that is larger than the peer takes, or undefined when it fits. */
  tooLarge(bytes: number): IpcError | undefined;
}

type End = { readonly kind: number; readonly payload: Uint8Array };

export class StreamSender {
  readonly #lane: DataLane;
  readonly #id: number;
  readonly #overflow: Overflow;
  readonly #host: StreamSenderHost;
  readonly #buffer = new Deque<Uint8Array>();
  #credit: number;
  #queued: StreamEntry | undefined;
  #end: End | undefined;
  #finished = false;
  #subscription: Subscription | undefined;
  #iterator: AsyncIterator<Uint8Array> | undefined;
  #pulling = false;
  #pumping = false;

  constructor(lane: DataLane, id: number, creditBytes: number, overflow: Overflow, host: StreamSenderHost) {
    this.#lane = lane;
    this.#id = id;
    this.#credit = creditBytes;
    this.#overflow = overflow;
    this.#host = host;
  }

  /** Starts sending. Call once. */
  start(source: AsyncIterable<Uint8Array> | Observable<Uint8Array>): void {
    if (isAsyncIterable(source)) {
      try {
        this.#iterator = source[Symbol.asyncIterator]();
      } catch (error) {
        this.#finishWith(KIND_ERROR, encodeFailure(error, this.#lane.pieceBytes));
      }
      this.#pump();
      return;
    }
    // Known before the source runs, so that one that emits for ever inside its subscribe can be stopped there.
    const stoppable = new Observable<Uint8Array>((subscriber) => {
      this.#subscription = subscriber;
      return source.subscribe(subscriber);
    });
    stoppable.subscribe({
      next: (item) => this.#onNext(item),
      error: (error: unknown) => this.#finishWith(KIND_ERROR, encodeFailure(error, this.#lane.pieceBytes)),
      complete: () => this.#finishWith(KIND_END, NO_BYTES),
    });
  }

  /** The receiver took items. */
  give(creditBytes: number): void {
    // A hostile peer may give what it likes: without a bound the number would lose its integers.
    this.#credit = Math.min(this.#credit + creditBytes, Number.MAX_SAFE_INTEGER);
    this.#pump();
  }

  /**
   * Stops at once: no further frame of this stream goes out from here. `terminal` goes out in its place; without one, whoever stops a
   * stream in the middle of an item has told the peer.
   */
  stop(terminal?: LaneEntry): void {
    const queued = this.#queued;
    this.#queued = undefined;
    const partial = queued !== undefined && this.#lane.isSending(queued);
    if (queued !== undefined && !this.#lane.remove(queued)) this.#lane.abandon(queued);
    // Before the source and the owner learn of the end: they may send, and nothing may come between a part of an item and its end.
    if (partial && terminal !== undefined) this.#lane.pushFirst(terminal);
    else if (terminal !== undefined) this.#lane.push(terminal);
    this.#finish();
  }

  /** Ends the source and sends `error` as the terminal frame, before whatever waits. */
  fail(payload: Uint8Array): void {
    if (this.#finished || this.#end !== undefined) return;
    this.#buffer.drain();
    this.#finishWith(KIND_ERROR, payload);
  }

  #onNext(item: Uint8Array): void {
    if (this.#finished || this.#end !== undefined) return;
    // isView first: it asks even a revoked proxy without a throw.
    if (!(ArrayBuffer.isView(item) && item instanceof Uint8Array)) {
      this.#stopSource();
      const error = new TypeError(`Expected items to be Uint8Arrays, got ${show(item)}`);
      this.fail(encodeFailure(error, this.#lane.pieceBytes));
      return;
    }
    if (this.#buffer.length === 0 && this.#queued === undefined && this.#trySend(item)) return;
    if (this.#buffer.length >= OVERFLOW_ITEMS) {
      if (this.#overflow === 'drop-newest') return;
      if (this.#overflow === 'error') {
        this.#stopSource();
        const message = `Expected a consumer at most ${OVERFLOW_ITEMS} items behind its stream, got one further behind`;
        this.fail(encodeOwnError(new IpcError('ERR_IPC_OVERLOADED', message)));
        return;
      }
      this.#buffer.shift();
    }
    this.#buffer.push(copyOf(item));
    // With credit it waits in the lane: too large for one piece, or there is no room now.
    this.#pump();
  }

  /** Sends an item at once when it has credit and room. */
  #trySend(item: Uint8Array): boolean {
    if (this.#credit <= 0) return false;
    const tooLarge = this.#host.tooLarge(item.length);
    if (tooLarge !== undefined) {
      this.#stopSource();
      this.fail(encodeOwnError(tooLarge));
      return true;
    }
    if (!this.#lane.trySend(KIND_ITEM, this.#id, item)) return false;
    this.#credit -= itemCost(item.length);
    this.#host.onSent(item.length);
    return true;
  }

  #pump(): void {
    if (this.#pumping) return;
    this.#pumping = true;
    try {
      while (!this.#finished && this.#queued === undefined) {
        const item = this.#buffer.peek();
        if (item === undefined) break;
        if (this.#trySend(item)) {
          this.#buffer.shift();
          continue;
        }
        if (this.#credit <= 0) break;
        this.#buffer.shift();
        this.#credit -= itemCost(item.length);
        this.#host.onSent(item.length);
        this.#queue(KIND_ITEM, item);
      }
      if (this.#finished || this.#queued !== undefined || this.#buffer.length > 0) return;
      if (this.#end !== undefined) this.#sendEnd(this.#end);
      else if (this.#iterator !== undefined && !this.#pulling && this.#credit > 0) this.#pull(this.#iterator);
    } finally {
      this.#pumping = false;
    }
  }

  #sendEnd(end: End): void {
    this.#host.onSent(end.payload.length);
    if (this.#lane.trySend(end.kind, this.#id, end.payload)) this.#finish();
    else this.#queue(end.kind, end.payload);
  }

  #queue(kind: number, payload: Uint8Array): void {
    const entry = new StreamEntry(kind, this.#id, payload, () => {
      this.#queued = undefined;
      if (kind === KIND_ITEM) this.#pump();
      else this.#finish();
    });
    this.#queued = entry;
    this.#lane.push(entry);
  }

  #pull(iterator: AsyncIterator<Uint8Array>): void {
    this.#pulling = true;
    let pulled: Promise<IteratorResult<Uint8Array>>;
    try {
      pulled = Promise.resolve(iterator.next());
    } catch (error) {
      pulled = Promise.reject(error);
    }
    pulled.then(
      (result) => {
        this.#pulling = false;
        if (this.#finished || this.#end !== undefined) return;
        if (result.done === true) {
          this.#iterator = undefined;
          this.#finishWith(KIND_END, NO_BYTES);
          return;
        }
        this.#onNext(result.value);
        this.#pump();
      },
      (error: unknown) => {
        this.#pulling = false;
        this.#iterator = undefined;
        this.#finishWith(KIND_ERROR, encodeFailure(error, this.#lane.pieceBytes));
      },
    );
  }

  #finishWith(kind: number, payload: Uint8Array): void {
    if (this.#finished || this.#end !== undefined) return;
    this.#end = { kind, payload };
    this.#stopSource();
    this.#pump();
  }

  #stopSource(): void {
    const subscription = this.#subscription;
    const iterator = this.#iterator;
    this.#subscription = undefined;
    this.#iterator = undefined;
    subscription?.unsubscribe();
    // The source's own clean-up is its business: what it throws has no one left to tell.
    if (iterator?.return !== undefined) {
      try {
        Promise.resolve(iterator.return()).catch(ignore);
      } catch {
        // As above, for an iterator that throws synchronously.
      }
    }
  }

  #finish(): void {
    if (this.#finished) return;
    this.#finished = true;
    this.#buffer.drain();
    this.#stopSource();
    this.#host.onFinished();
  }
}

class StreamEntry implements LaneEntry {
  readonly kind: number;
  readonly id: number;
  readonly payload: Uint8Array;
  readonly extension = undefined;
  readonly #onSent: () => void;

  constructor(kind: number, id: number, payload: Uint8Array, onSent: () => void) {
    this.kind = kind;
    this.id = id;
    this.payload = payload;
    this.#onSent = onSent;
  }

  begin(): boolean {
    return true;
  }

  sent(): void {
    this.#onSent();
  }
}

/** Whether `value` can be iterated asynchronously. Checked before Observables: a hybrid offers backpressure this way. */
export function isAsyncIterable(value: unknown): value is AsyncIterable<Uint8Array> {
  return typeof value === 'object' && value !== null && Symbol.asyncIterator in value;
}

/** Whether `value` can be subscribed to. */
export function isObservable(value: unknown): value is Observable<Uint8Array> {
  return typeof value === 'object' && value !== null && 'subscribe' in value && typeof value.subscribe === 'function';
}

function ignore(): void {}
