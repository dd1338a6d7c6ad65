import { answer, type HandleOptions, type Handler, type IpcRequest, type IpcResponse } from '@spanwire/ipc-core';
import { merge, Observable, Subject, type OperatorFunction, type Subscriber } from 'rxjs';
import { expectFunction, show } from './arguments.ts';
import { serverSideOf } from './server-side.ts';
import { through } from './through.ts';

/** Where requests of one key go: a handler, or operators of their own (limits, deadlines) that end in answers. */
export type Route<T extends IpcRequest> = Handler | { readonly via: OperatorFunction<T, IpcResponse> };

/** A request has a key that no route has. */
export class UnknownRouteError extends RangeError {
  override readonly name: string = 'UnknownRouteError';
  readonly code = 'ERR_UNKNOWN_ROUTE';
}

/**
 * Sends each request to the handler that `selector` names, and merges the answers.
 *
 *     requests   --a----b----a--|
 *     route(nameOf, { a: f, b: { via: g } })
 *     f             A         A
 *     g                  B
 *     answers    --A----B----A--|
 *
 * A key without a route, and a throw of `selector`, answer that request with an error (`UnknownRouteError`; the `*` route takes what has no
 * other). Keys come from clients, so only own properties of `routes` count.
 *
 * Memory and backpressure: those of the routes; a route that lets requests wait makes their clients wait. Error: an error of the source or of
 * a route's operators errors the result. Completion: when all routes have completed. Unsubscribe: the source and all routes are left.
 *
 * Throws TypeError at once on bad arguments.
 *
 * @example
 * server.requests$
 *   .pipe(
 *     route((request) => request.metadata?.get('method') ?? '*', {
 *       get: (_clientId, request) => store.get(request),
 *       search: { via: (requests$) => requests$.pipe(limitInFlight(2), handle(search)) },
 *       '*': () => Promise.reject(new Error('no such method')),
 *     }),
 *   )
 *   .subscribe(server.responses);
 */
export function route<T extends IpcRequest>(
  selector: (request: T) => string,
  routes: Readonly<Record<string, Route<T>>>,
  options?: HandleOptions,
): OperatorFunction<T, IpcResponse> {
  expectFunction('selector', selector);
  if (typeof routes !== 'object' || routes === null) {
    throw new TypeError(`Expected \`routes\` to be an object of routes, got ${show(routes)}`);
  }
  if (Object.keys(routes).length === 0) throw new TypeError('Expected `routes` to have at least one route, got none');
  const operators = new Map(Object.entries(routes).map(([key, each]) => [key, operatorOf(key, each, options)]));
  return (requests$) =>
    through(requests$, (out) => {
      const branches = new Map<string, Branch<T>>();
      const answers = [...operators].map(([key, operator]) => {
        const branch = new Branch<T>();
        branches.set(key, branch);
        return branch.requests$.pipe(operator);
      });
      merge(...answers).subscribe(out);
      return {
        next: (request) => {
          let branch: Branch<T> | undefined;
          try {
            const key = selector(request);
            branch = branches.get(key) ?? branches.get('*');
            if (branch === undefined) throw unknownRoute(key, operators.keys());
          } catch (error) {
            serverSideOf(request).answer({ error });
            return;
          }
          branch.next(request);
        },
        complete: () => {
          for (const branch of branches.values()) branch.complete();
        },
      };
    });
}

/** The requests of one route. As a Subject, but without what that does for many subscribers: here there is one. */
class Branch<T> {
  #subscriber: Subscriber<T> | undefined;
  #others: Subject<T> | undefined;

  readonly requests$: Observable<T> = new Observable<T>((subscriber) => {
    if (this.#subscriber !== undefined) return (this.#others ??= new Subject<T>()).subscribe(subscriber);
    this.#subscriber = subscriber;
    return undefined;
  });

  next(request: T): void {
    this.#subscriber?.next(request);
    this.#others?.next(request);
  }

  complete(): void {
    this.#subscriber?.complete();
    this.#others?.complete();
  }
}

function operatorOf<T extends IpcRequest>(
  key: string,
  each: Route<T>,
  options: HandleOptions | undefined,
): OperatorFunction<T, IpcResponse> {
  if (typeof each === 'function') return (requests$) => answer(each, options)(requests$);
  if (typeof each === 'object' && each !== null && typeof each.via === 'function') return each.via;
  throw new TypeError(`Expected the route "${key}" to be a handler or \`{ via: operator }\`, got ${show(each)}`);
}

function unknownRoute(key: string, known: Iterable<string>): UnknownRouteError {
  return new UnknownRouteError(`Expected one of the routes ${[...known].join(', ')}, got ${show(key)}`);
}
