/** The receiving half of an Observable between processes. */
import { IpcError } from '@spanwire/ipc-core';
import { RpcTarget, type RpcStub } from 'capnweb';
import { Observable, type Subscriber } from 'rxjs';
import { PullIterator } from './pull-iterator.ts';
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
  dup(): this {
    return new RemoteObservable<T>(this.#source.dup(), this.#link) as this;
  }

  /** Lets go of the source. Running subscriptions go on. */
  [Symbol.dispose](): void {
    this.#source[Symbol.dispose]();
  }

  [Symbol.asyncIterator](): AsyncIterableIterator<T, undefined> {
    return new PullIterator<T>((sink, fail) => this.#subscribeTo(sink, fail));
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
      const message =
        'Expected an Observable that is there, got one that was disposed, or that went with the call that brought it: dup() what is to be kept';
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
