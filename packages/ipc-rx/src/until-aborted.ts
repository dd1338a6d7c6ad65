import { Observable, type MonoTypeOperatorFunction } from 'rxjs';

/**
 * Passes everything on until `signal` aborts, then errors with the signal's reason.
 *
 *     source     --a--b--c--
 *     signal     ------x
 *     untilAborted(signal)
 *     result     --a--b#        (a request on its way is cancelled on the server)
 *
 * For completion instead of an error, use `takeUntil(fromAbortSignal(signal))`. Memory: one listener, which the end removes. Backpressure passes
 * through. Unsubscribe: the source is left.
 *
 * @example
 * client.request$(query).pipe(untilAborted(AbortSignal.timeout(5_000))).subscribe({ next: show, error: giveUp });
 */
export function untilAborted<T>(signal: AbortSignal): MonoTypeOperatorFunction<T> {
  return (source) =>
    new Observable((subscriber) => {
      const onAbort = (): void => subscriber.error(signal.reason);
      if (signal.aborted) {
        onAbort();
        return undefined;
      }
      signal.addEventListener('abort', onAbort, { once: true });
      subscriber.add(() => signal.removeEventListener('abort', onAbort));
      return source.subscribe(subscriber);
    });
}
