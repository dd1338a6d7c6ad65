import { originOf, type IpcRequest, type RequestOrigin, type ShutdownOptions } from '@spanwire/ipc-core';
import { from, take, type MonoTypeOperatorFunction, type ObservableInput } from 'rxjs';
import { milliseconds } from './arguments.ts';
import { through } from './through.ts';

/**
 * Takes requests until `signal$` emits, then shuts the server down gracefully: what runs finishes, what has not started is refused.
 *
 *     requests   --a--b--c--d--
 *     signal$    --------x
 *     untilShutdown(signal$)
 *     result     --a--b--|
 *
 * Put it before the operators that do the work: they see the end of requests, finish what they have, and complete; the sink takes
 * that for the end. `graceMs` (0 to 2^31 - 1; default the server's own) bounds how long that may take; then what runs fails at its client.
 *
 * Memory: none. Backpressure: passes through. Error: an error of the source or of `signal$` goes on. When `signal$` completes without a
 * value, requests go on. Unsubscribe: both are left, and nothing is shut down.
 *
 * Throws TypeError or RangeError at once on bad arguments.
 *
 * @example
 * server.requests$
 *   .pipe(untilShutdown(fromEvent(process, 'SIGTERM'), { graceMs: 5_000 }), handle(handler))
 *   .subscribe(server.responses);
 */
export function untilShutdown<T extends IpcRequest>(
  signal$: ObservableInput<unknown>,
  options: ShutdownOptions = {},
): MonoTypeOperatorFunction<T> {
  const graceMs = milliseconds('graceMs', options.graceMs);
  const shutdown$ = from(signal$).pipe(take(1));
  return (requests$) =>
    through(requests$, (out) => {
      // Known from the first request on. Before it nothing runs, and the end of the pipeline says it all.
      let server: RequestOrigin['server'] | undefined;
      out.add(
        shutdown$.subscribe({
          next: () => {
            server?.requestShutdown({ graceMs });
            out.complete();
          },
          error: (error: unknown) => out.error(error),
        }),
      );
      return {
        next: (request) => {
          if (server === undefined) server = originOf(request)?.server;
          out.next(request);
        },
      };
    });
}
