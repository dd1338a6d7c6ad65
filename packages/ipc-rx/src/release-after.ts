import type { IpcRequest } from '@spanwire/ipc-core';
import { finalize, from, mergeMap, type ObservableInput, type OperatorFunction } from 'rxjs';
import { expectFunction } from './arguments.ts';

/**
 * Runs `project` on each request, passes on what comes of it, and releases the request when that ends.
 *
 *     requests   --a-----b---------|
 *     project(a)   x--y|
 *     project(b)         z---|
 *     releaseAfter(project)
 *     result     --x--y--z---------|      a is released after y, b after z's end
 *
 * For pipelines that answer elsewhere, or not through the sink: whichever way `project`'s result ends (completion, error,
 * unsubscription), the span goes back to its client's window. A request that is released but not answered stays open.
 *
 * Memory: the span is pinned while `project` runs. Backpressure: the client's window bounds what runs at once; put {@link limitInFlight}
 * before it for fewer. Error: an error of `project` or of the source errors the result, after the release. Unsubscribe: all that runs
 * is unsubscribed and released.
 *
 * Throws TypeError at once unless `project` is a function.
 *
 * @example
 * server.requests$
 *   .pipe(releaseAfter((request) => defer(() => journal.append(request.span)).pipe(map(() => ({ ...request })))))
 *   .subscribe(server.responses);
 */
export function releaseAfter<T extends IpcRequest, R>(
  project: (request: T) => ObservableInput<R>,
): OperatorFunction<T, R> {
  expectFunction('project', project);
  return mergeMap((request) => {
    let result: ObservableInput<R>;
    try {
      result = project(request);
    } catch (error) {
      request.release();
      throw error;
    }
    return from(result).pipe(finalize(() => request.release()));
  });
}
