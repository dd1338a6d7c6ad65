import { from, Observable, type ObservableInput } from 'rxjs';
import { expectFunction } from './arguments.ts';

/**
 * Work that takes an AbortSignal, as an Observable: unsubscribing aborts the signal.
 *
 *     subscribe  ^-----!
 *     work       ^-----x aborted
 *     result     --a-b--
 *
 * Cold: each subscription calls `work` with a signal of its own. As an answer it is stopped when its client cancels, its deadline passes, or
 * its client leaves. Memory and backpressure: those of what `work` gives. Error: that of `work`, also when it throws; the signal does not abort
 * after an end.
 *
 * Throws TypeError at once unless `work` is a function.
 *
 * @example
 * server.respond((_clientId, request) => abortable((signal) => fetchBytes(new URL(text(request)), { signal })));
 */
export function abortable<T>(work: (signal: AbortSignal) => ObservableInput<T>): Observable<T> {
  expectFunction('work', work);
  return new Observable((subscriber) => {
    const controller = new AbortController();
    let ended = false;
    const subscription = from(work(controller.signal)).subscribe({
      next: (value) => subscriber.next(value),
      error: (error: unknown) => {
        ended = true;
        subscriber.error(error);
      },
      complete: () => {
        ended = true;
        subscriber.complete();
      },
    });
    return () => {
      if (!ended) controller.abort();
      subscription.unsubscribe();
    };
  });
}
