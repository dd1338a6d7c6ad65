import type { HandleOptions, Handler, IpcServer } from '@spanwire/ipc-core';
import type { Subscription } from 'rxjs';

/**
 * Answers all requests of `server` with `handler`: `server.requests$.pipe(handle(handler, options)).subscribe(server.responses)`.
 *
 *     requests$  --a----b--|
 *     serve(server, h)
 *     responses  --A----B--|  and the server shuts down
 *
 * It does not listen; call `server.listen()` before or after. Memory, backpressure and errors are those of {@link handle}.
 * Unsubscribe: no further request is taken; those that come wait for the next subscriber, within their client's window.
 *
 * @example
 * const server = createMemoryServer('upper');
 * const serving = serve(server, (_clientId, request) => Buffer.from(Buffer.from(request).toString().toUpperCase()));
 * await server.listen();
 */
export function serve(server: IpcServer, handler: Handler, options?: HandleOptions): Subscription {
  return server.respond(handler, options);
}
