import { from, take, type ObservableInput } from 'rxjs';

/**
 * A signal that aborts when `notifier$` emits, with what it emits as the reason (an error of it likewise).
 *
 *     notifier$  ------x
 *     signal     ------x aborted
 *
 * Subscribes at once, until the first value; when `notifier$` completes without one, the signal never aborts. Memory: one subscription.
 *
 * @example
 * const reply = await client.request(query, { signal: toAbortSignal(fromEvent(button, 'cancel')) });
 */
export function toAbortSignal(notifier$: ObservableInput<unknown>): AbortSignal {
  const controller = new AbortController();
  from(notifier$)
    .pipe(take(1))
    .subscribe({
      next: (reason) => controller.abort(reason),
      error: (error: unknown) => controller.abort(error),
    });
  return controller.signal;
}
