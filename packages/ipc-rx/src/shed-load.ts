import { IpcError, type IpcRequest } from '@spanwire/ipc-core';
import type { MonoTypeOperatorFunction } from 'rxjs';
import { expectFunction } from './arguments.ts';
import { serverSideOf } from './server-side.ts';
import { through } from './through.ts';

/** What a server has to do at the moment. */
export interface Load {
  /** Requests that passed and are not answered yet; of all clients together. */
  readonly inFlight: number;
}

export interface ShedLoadOptions<T extends IpcRequest> {
  /** Whether this request is not to be served. Keep it cheap: it is asked for each. */
  readonly when: (load: Load, request: T) => boolean;
  /** The answer of a request that is not served. Default: its client's call fails with ERR_IPC_OVERLOADED. */
  readonly respond?: ((request: T) => Uint8Array) | undefined;
}

/**
 * Answers requests at once, without serving them, while there is too much to do.
 *
 *     requests   --a-b-c-----d--|
 *     answers    ---------A------
 *     shedLoad({ when: ({ inFlight }) => inFlight >= 2 })
 *     result     --a-b-------d--|      c is answered ERR_IPC_OVERLOADED
 *
 * The client of a request that was shed knows that it never started, and may send it again later. A plain client knows no errors: its
 * connection closes, unless `respond` gives bytes.
 *
 * Memory: none; a shed request is released at once. Backpressure: none of its own, and that is the point: clients are told instead of
 * kept waiting. Put {@link limitInFlight} after it to make them wait up to a point.
 *
 * Error: a throw of `when` or `respond` is a mistake of the program and errors the result. Unsubscribe: the source is left.
 *
 * Throws TypeError at once on bad options.
 *
 * @example
 * server.requests$
 *   .pipe(shedLoad({ when: ({ inFlight }) => inFlight >= 200, respond: () => BUSY }), limitInFlight(8, { per: 'server' }), handle(work))
 *   .subscribe(server.responses);
 */
export function shedLoad<T extends IpcRequest>(options: ShedLoadOptions<T>): MonoTypeOperatorFunction<T> {
  const { when, respond } = options;
  expectFunction('when', when);
  if (respond !== undefined) expectFunction('respond', respond);
  return (requests$) =>
    through(requests$, (out) => {
      const load = { inFlight: 0 };
      const onDone = (): void => {
        load.inFlight--;
      };
      return {
        next: (request) => {
          if (when(load, request)) {
            shed(request, respond?.(request));
            return;
          }
          load.inFlight++;
          out.next(request);
          serverSideOf(request).whenDone(onDone);
        },
      };
    });
}

function shed(request: IpcRequest, answer: Uint8Array | undefined): void {
  if (answer === undefined) {
    serverSideOf(request).fail(
      new IpcError('ERR_IPC_OVERLOADED', 'The server has too much to do and did not start this request'),
    );
  } else {
    request.respond(answer);
  }
  request.release();
}
