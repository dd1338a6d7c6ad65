/**
 * How operators take values: with a Subscriber and not with an observer, which RxJS would wrap, and that costs as much as a whole operator.
 */
import { Observable, Subscriber, type Subscription } from 'rxjs';

/** What an operator does with its source. What `next` and `complete` throw errors the result. */
interface Step<T> {
  readonly next: (value: T) => void;
  /** Default: the result completes. */
  readonly complete?: (() => void) | undefined;
}

/** What takes a source apart from any result. None of them may throw. */
interface Taker<T> {
  readonly next: (value: T) => void;
  readonly error: (error: unknown) => void;
  readonly complete: () => void;
}

/**
 * The Observable of an operator: `start` is called for each subscriber and says what becomes of values of `source`. Unsubscribing leaves the source.
 */
export function through<T, R>(source: Observable<T>, start: (out: Subscriber<R>) => Step<T>): Observable<R> {
  return new Observable((out) => {
    const step = start(out);
    // A step may have ended the result already.
    return out.closed ? undefined : source.subscribe(new StepSubscriber(out, step));
  });
}

/** Subscribes to `source`; for operators whose source may outlive their subscriber. */
export function takeFrom<T>(source: Observable<T>, taker: Taker<T>): Subscription {
  return source.subscribe(new TakerSubscriber(taker));
}

class StepSubscriber<T, R> extends Subscriber<T> {
  readonly #out: Subscriber<R>;
  readonly #next: (value: T) => void;
  readonly #complete: (() => void) | undefined;

  constructor(out: Subscriber<R>, { next, complete }: Step<T>) {
    super(out);
    this.#out = out;
    this.#next = next;
    this.#complete = complete;
  }

  protected override _next(value: T): void {
    try {
      this.#next(value);
    } catch (error) {
      this.#out.error(error);
    }
  }

  protected override _complete(): void {
    if (this.#complete === undefined) {
      super._complete();
      return;
    }
    try {
      this.#complete();
    } catch (error) {
      this.#out.error(error);
    } finally {
      this.unsubscribe();
    }
  }
}

class TakerSubscriber<T> extends Subscriber<T> {
  readonly #taker: Taker<T>;

  constructor(taker: Taker<T>) {
    super();
    this.#taker = taker;
  }

  protected override _next(value: T): void {
    this.#taker.next(value);
  }

  protected override _error(error: unknown): void {
    this.unsubscribe();
    this.#taker.error(error);
  }

  protected override _complete(): void {
    this.unsubscribe();
    this.#taker.complete();
  }
}
