import { IpcError, type IpcClient } from '@spanwire/ipc-core';
import { filter, mergeMap, of, retry, take, throwError, type MonoTypeOperatorFunction } from 'rxjs';
import { integerIn, show } from './arguments.ts';

export interface RetryOptions {
  /** Your word that running the request twice is as good as once: after a lost connection nobody knows whether it ran. */
  readonly idempotent: true;
  /** How many times a request is sent again. At least 1; default 3. */
  readonly attempts?: number | undefined;
}

/**
 * Sends an idempotent request again, over the next connection, when the connection was lost before its answer came.
 *
 *     request$   --G                 G: ERR_IPC_PEER_GONE
 *     state$     c-r-----c           reconnecting, connected
 *     again              --x|
 *     retryOnReconnect(client, { idempotent: true })
 *     result     ----------x|
 *
 * For clients with a `reconnect` policy: it waits while the client reconnects, and when the client closes instead, the error passes. Other errors
 * pass at once. A stream starts from its beginning, after the items that came before.
 *
 * Memory and backpressure: none of its own. Unsubscribe: the request that runs is left, or the wait for the connection.
 *
 * Throws TypeError or RangeError at once, also without `idempotent: true`.
 *
 * @example
 * client.request$(query).pipe(retryOnReconnect(client, { idempotent: true })).subscribe(show);
 */
export function retryOnReconnect<T>(client: IpcClient, options: RetryOptions): MonoTypeOperatorFunction<T> {
  const marked: unknown = (options as RetryOptions | undefined)?.idempotent;
  if (marked !== true) {
    throw new TypeError(`Expected \`idempotent\` to be true: only such requests may run twice, got ${show(marked)}`);
  }
  const attempts = integerIn('attempts', options.attempts ?? 3, 1, Number.MAX_SAFE_INTEGER);
  return retry({
    delay: (error: unknown, count) => {
      const lost = error instanceof IpcError && error.code === 'ERR_IPC_PEER_GONE';
      if (!lost || count > attempts) return throwError(() => error);
      return client.state$.pipe(
        filter((state) => state !== 'connecting' && state !== 'reconnecting'),
        take(1),
        mergeMap((state) => (state === 'connected' ? of(state) : throwError(() => error))),
      );
    },
  });
}
