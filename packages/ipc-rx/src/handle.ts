import { answer, type HandleOptions, type Handler, type IpcRequest, type IpcResponse } from '@spanwire/ipc-core';
import type { OperatorFunction } from 'rxjs';

/**
 * Answers each request with what `handler` returns: bytes, a promise of bytes, an Observable or AsyncIterable of items, or nothing.
 *
 *     requests   --a----b--c---------|
 *     handle(h), where h(a) takes 5 frames and the others none
 *     answers    -------BA-C---------|      order: 'completion'
 *     answers    -------(AB)-C-------|      order: 'request'
 *
 * Memory: a request's span is the handler's until it has answered, also across an `await`: a slow promise pins it; {@link copied}
 * before `handle` does not. Backpressure: beyond `concurrency`, requests wait pinned and in order, so their client's window fills and that
 * client alone waits. A stream is pulled as its client takes it, and counts as running until it is handed over.
 *
 * Error: a throw or rejection answers that request with an error, and disturbs nothing else. An error of the source goes on.
 * Unsubscribe: running handlers finish, and their results are dropped; what waits never starts, and is answered ERR_IPC_REFUSED.
 *
 * Throws TypeError or RangeError at once on bad arguments.
 *
 * @example
 * server.requests$
 *   .pipe(handle(async (_clientId, request) => digest(request.slice()), { concurrency: 4 }))
 *   .subscribe(server.responses);
 */
export function handle(handler: Handler, options?: HandleOptions): OperatorFunction<IpcRequest, IpcResponse> {
  return answer(handler, options);
}
