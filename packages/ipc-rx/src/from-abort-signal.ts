import { Observable } from 'rxjs';

/**
 * Emits the reason when `signal` aborts, and completes: for `takeUntil`, {@link untilShutdown} and the like.
 *
 *     signal     ------x
 *     result     ------(x|)
 *
 * Emits at once when the signal has aborted already. Memory: one listener, which unsubscribing removes. It never errors.
 *
 * @example
 * server.requests$.pipe(untilShutdown(fromAbortSignal(signal)), handle(work)).subscribe(server.responses);
 */
export function fromAbortSignal(signal: AbortSignal): Observable<unknown> {
  return new Observable((subscriber) => {
    const onAbort = (): void => {
      subscriber.next(signal.reason);
      subscriber.complete();
    };
    if (signal.aborted) {
      onAbort();
      return undefined;
    }
    signal.addEventListener('abort', onAbort, { once: true });
    return () => signal.removeEventListener('abort', onAbort);
  });
}
