/** The receiving half of an Observable between processes. */
import { Deque, IpcError } from '@spanwire/ipc-core';
import { RpcTarget, type RpcStub } from 'capnweb';
import { Observable, type Subscriber } from 'rxjs';
import type { SinkTarget, StreamSource } from './stream-source.ts';

/** Tells when a connection ends. */
export interface EndOfLink {
  /** Calls `callback` once with the reason; at once when it has ended. The returned function forgets it. */
  onEnd(callback: (error: Error) => void): () => void;
}

/**
 * An Observable in another process. Each subscription subscribes there; unsubscribing unsubscribes there. It errors with ERR_IPC_PEER_GONE
 * when the connection ends first.
 *
 * As an AsyncIterable it is pulled: the other side produces (AsyncIterables) or buffers (Observables) while this side does not ask for
 * more. A subscriber takes items as they come.
 *
 * It belongs to the message that brought it: one that came as an argument of a call ends with that call, unless it is `dup()`ed. Stubs
 * inside of items live until the subscriber returns.
 *
 * @example
 * const ticks$ = await clock.ticks(1000);
 * const subscription = ticks$.subscribe((tick) => show(tick));
 */
export class RemoteObservable<T> extends Observable<T> implements AsyncIterable<T>, Disposable {
  /**
   * capnweb decodes the stub of the source into this property, which therefore has to be own, enumerable, and the only one that is.
   *
   * @internal
   */
  declare readonly remote: unknown;
  readonly #link: EndOfLink;

  /** @internal */
  constructor(remote: unknown, link: EndOfLink) {
    super((subscriber) => this.#subscribeTo(new SubscriberSink(subscriber), (error) => subscriber.error(error)));
    for (const key of Object.keys(this)) Object.defineProperty(this, key, { enumerable: false });
    this.#link = link;
    (this as { remote: unknown }).remote = remote;
  }

  static {
    // rxjs has enumerable methods, and what is enumerable here would be taken for a part of the message.
    for (const key of Object.keys(Observable.prototype)) {
      const value: unknown = Reflect.get(Observable.prototype, key);
      Object.defineProperty(this.prototype, key, { value, writable: true, configurable: true });
    }
  }

  /** The same Observable, with a life of its own: it lives until it is disposed. */
  dup(): RemoteObservable<T> {
    return new RemoteObservable(this.#source.dup(), this.#link);
  }

  /** Lets go of the source. Running subscriptions go on. */
  [Symbol.dispose](): void {
    this.#source[Symbol.dispose]();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<T, void, undefined> {
    const sink = new PullSink<T>();
    const stop = this.#subscribeTo(sink, (error) => sink.error(error));
    try {
      for (;;) {
        const item = await sink.take();
        if (item === undefined) return;
        yield item.value;
      }
    } finally {
      stop();
      sink.letGo();
    }
  }

  get #source(): RpcStub<StreamSource> {
    return this.remote as RpcStub<StreamSource>;
  }

  #subscribeTo(sink: SinkTarget, fail: (error: unknown) => void): () => void {
    // A subscription that is never told of the end of its connection would wait for ever.
    const forget = this.#link.onEnd(fail);
    let feed: Disposable | undefined;
    let stopped = false;
    void (async () => {
      const opened = await this.#open(sink);
      if (stopped) opened[Symbol.dispose]();
      else feed = opened;
    })().catch((error: unknown) => {
      if (!stopped) fail(error);
    });
    return () => {
      if (stopped) return;
      stopped = true;
      forget();
      feed?.[Symbol.dispose]();
    };
  }

  async #open(sink: SinkTarget): Promise<Disposable> {
    try {
      return await this.#source.open(sink);
    } catch (error) {
      if (error instanceof IpcError) throw error;
      const message = 'This Observable went with the call that brought it as an argument: dup() what is to be kept';
      throw new IpcError('ERR_IPC_CLOSED', message, { cause: error });
    }
  }
}

class SubscriberSink extends RpcTarget implements SinkTarget {
  readonly #subscriber: Subscriber<unknown>;

  constructor(subscriber: Subscriber<unknown>) {
    super();
    this.#subscriber = subscriber;
  }

  next(items: unknown[]): void {
    for (const item of items) this.#subscriber.next(item);
  }

  error(error: unknown): void {
    this.#subscriber.error(error);
  }

  complete(): void {
    this.#subscriber.complete();
  }
}

/** Holds the credit back until its items were asked for. */
class PullSink<T> extends RpcTarget implements SinkTarget {
  readonly #items = new Deque<T>();
  /** Resolved when the items that came with a call were taken. */
  readonly #consumed: Array<{ readonly resolve: () => void; left: number }> = [];
  #end: { readonly error: unknown; readonly failed: boolean } | undefined;
  #wake: (() => void) | undefined;

  next(items: unknown[]): Promise<void> {
    return new Promise((resolve) => {
      for (const item of items) this.#items.push(item as T);
      this.#consumed.push({ resolve, left: items.length });
      this.#wake?.();
    });
  }

  error(error: unknown): void {
    this.#end ??= { error, failed: true };
    this.#wake?.();
  }

  complete(): void {
    this.#end ??= { error: undefined, failed: false };
    this.#wake?.();
  }

  /** The next item; undefined at the end. */
  async take(): Promise<{ readonly value: T } | undefined> {
    while (this.#items.length === 0 && this.#end === undefined) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
      this.#wake = undefined;
    }
    if (this.#items.length > 0) {
      const value = this.#items.shift() as T;
      const first = this.#consumed[0];
      if (first !== undefined && --first.left === 0) {
        this.#consumed.shift();
        first.resolve();
      }
      return { value };
    }
    if (this.#end?.failed === true) throw this.#end.error;
    return undefined;
  }

  /** Nobody will take the rest. */
  letGo(): void {
    for (const { resolve } of this.#consumed.splice(0)) resolve();
  }
}
