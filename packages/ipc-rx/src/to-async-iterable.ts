import type { IpcRequest } from '@spanwire/ipc-core';
import type { Observable } from 'rxjs';
import { canStart, refuse } from './never-started.ts';
import { Taken } from './pullable.ts';

/**
 * Requests for a `for await` loop, with backpressure: what the loop has not taken stays unreleased, and so stops its client.
 *
 *     requests   --a-b-----c----|
 *     loop         a   b   c          takes one when it is done with the one before
 *
 * Subscribes with the first `next()`. Memory and backpressure: requests that came and were not taken wait in order; they count against their
 * client's window and `maxInFlight`, which bound how many there can be. The loop answers: by `request.respond(bytes)`, or through the sink.
 * Those that were cancelled while they waited are skipped.
 *
 * Error: thrown into the loop after what waits was taken. Leaving the loop unsubscribes; what was not taken never started, and is answered
 * ERR_IPC_REFUSED.
 *
 * A stream of items (`client.request$`, `request.input$`) needs no adapter: it can be iterated as it is.
 *
 * @example
 * for await (const request of toAsyncIterable(server.requests$)) request.respond(await work(request.span));
 */
export function toAsyncIterable<T extends IpcRequest>(requests$: Observable<T>): AsyncIterableIterator<T, undefined> {
  return new TakenRequests(requests$, Number.POSITIVE_INFINITY);
}

class TakenRequests<T extends IpcRequest> extends Taken<T> {
  protected override canDeliver(request: T): boolean {
    return canStart(request);
  }

  protected override drop(request: T): void {
    if (canStart(request)) refuse(request);
  }
}
