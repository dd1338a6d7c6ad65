/** What a stream command gives its client. */
import { Observable } from 'rxjs';

/**
 * The items of a stream command. Cold: each subscription, and each iteration, sends the command; unsubscribing, or leaving the loop, cancels
 * it. A subscriber is sent what the stream's window allows whether it is ready or not; an iteration takes one item at a time, and the
 * server waits for it.
 *
 * @example
 * for await (const tick of client.ticks({ everyMs: 100 })) if (tick > 10) break;
 */
export class CommandStream<T> extends Observable<T> implements AsyncIterable<T> {
  readonly #iterate: () => AsyncGenerator<T, void, undefined>;

  constructor(values$: Observable<T>, iterate: () => AsyncGenerator<T, void, undefined>) {
    super((subscriber) => values$.subscribe(subscriber));
    this.#iterate = iterate;
  }

  [Symbol.asyncIterator](): AsyncGenerator<T, void, undefined> {
    return this.#iterate();
  }
}
