import { IpcError } from '@spanwire/ipc-core';
import { retry, throwError, timer, type MonoTypeOperatorFunction } from 'rxjs';
import { milliseconds, show } from './arguments.ts';

export interface ResendOptions {
  /** How long to wait before the first, second, ... resend, in milliseconds; after the last one the error passes. Default 0, 10, 100, 1,000. */
  readonly delaysMs?: readonly number[] | undefined;
}

/**
 * Sends a request again that the server refused before it started, and never any other.
 *
 *     request$   --R               R: ERR_IPC_REFUSED
 *     again           --x|
 *     resendRefused()
 *     result     -------x|
 *
 * A server that shuts down or hands over refuses what it never started; with a client that reconnects, the next attempt waits for the new server.
 * Nothing runs twice: an error of any other kind passes at once, also the loss of a connection, after which a request may have run.
 *
 * Memory and backpressure: none of its own. Unsubscribe: the request that runs is left, or the wait for the next. Use it on what sends a
 * request per subscription: `client.request$(...)`, `defer(() => client.request(...))`, or `requestEach(client, { each: resendRefused() })`.
 *
 * Throws TypeError or RangeError at once on bad delays.
 *
 * @example
 * const reply = await firstValueFrom(defer(() => client.request(data)).pipe(resendRefused()));
 */
export function resendRefused<T>(options: ResendOptions = {}): MonoTypeOperatorFunction<T> {
  const delaysMs: readonly number[] = options.delaysMs ?? [0, 10, 100, 1_000];
  const given: unknown = delaysMs;
  if (!Array.isArray(given)) throw new TypeError(`Expected \`delaysMs\` to be a list, got ${show(given)}`);
  for (const [i, delayMs] of delaysMs.entries()) {
    if (milliseconds(`delaysMs[${i}]`, delayMs) === undefined) {
      throw new TypeError(`Expected \`delaysMs[${i}]\` to be a number of milliseconds, got undefined`);
    }
  }
  return retry({
    delay: (error: unknown, count) => {
      const delayMs = delaysMs[count - 1];
      const refused = error instanceof IpcError && error.code === 'ERR_IPC_REFUSED';
      return refused && delayMs !== undefined ? timer(delayMs) : throwError(() => error);
    },
  });
}
