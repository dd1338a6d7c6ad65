import { SpanReleasedError, type Bytes, type IpcRequest } from '@spanwire/ipc-core';
import { map, type OperatorFunction } from 'rxjs';
import { RequestView } from './request-view.ts';

/**
 * Copies each request's bytes and gives the borrowed span back at once, so that a slow handler pins nothing.
 *
 *     requests   --a----b--c--|
 *     copied()
 *     result     --a'---b'-c'-|      a' owns its bytes; the span of a is released
 *
 * Memory: one copy per request, which lives as long as somebody holds the request; `release()` lets go of it, after which `span` throws.
 * Backpressure: the bytes no longer count against the client's window, so only `maxInFlight` bounds how many copies there are: put
 * {@link limitInFlight} before it where messages are large.
 *
 * Error and completion pass through. Unsubscribe: the source is left.
 *
 * @example
 * server.requests$
 *   .pipe(limitInFlight(16), copied(), handle((_clientId, request) => store.write(request)))
 *   .subscribe(server.responses);
 */
export function copied(): OperatorFunction<IpcRequest, IpcRequest> {
  return map((request) => new CopiedRequest(request));
}

class CopiedRequest extends RequestView {
  #bytes: Bytes | undefined;

  constructor(request: IpcRequest) {
    super(request);
    this.#bytes = new Uint8Array(request.span);
    request.release();
  }

  override get span(): Bytes {
    if (this.#bytes === undefined) throw new SpanReleasedError();
    return this.#bytes;
  }

  override release(): void {
    this.#bytes = undefined;
  }
}
