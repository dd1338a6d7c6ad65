/** The one way from the requests of a server to its sink, for servers that are served reactively. */
import { answer, type HandleOptions, type Handler, type IpcRequest, type IpcServer } from '@spanwire/ipc-core';
import { Observable, Subscription } from 'rxjs';

/**
 * Answers the requests of `server` until the returned Subscription is unsubscribed. What was taken until then is still answered: its clients
 * would wait for ever, and no later subscriber could know of it. `onEnd` is told of the end of the server.
 */
export function answerAll(
  server: IpcServer,
  handler: Handler,
  options: HandleOptions = {},
  onEnd?: () => void,
): Subscription {
  const reading = new Subscription();
  let left = false;
  const taken$ = new Observable<IpcRequest>((subscriber) => {
    reading.add(() => {
      left = true;
      // Later, since it may be a handler that ends this: then it has not returned its answer yet.
      queueMicrotask(() => subscriber.complete());
    });
    reading.add(
      server.requests$.subscribe({
        next: (request) => subscriber.next(request),
        error: (error: unknown) => subscriber.error(error),
        complete: () => {
          onEnd?.();
          subscriber.complete();
        },
      }),
    );
  });
  taken$.pipe(answer(handler, options)).subscribe({
    next: (response) => server.responses.next(response),
    error: (error: unknown) => {
      server.responses.error(error);
      reading.unsubscribe();
    },
    complete: () => {
      // The sink takes an end for the end of the server.
      if (!left) server.responses.complete();
      reading.unsubscribe();
    },
  });
  return reading;
}
