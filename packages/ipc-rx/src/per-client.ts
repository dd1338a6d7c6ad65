import { Deque, originOf, type IpcRequest } from '@spanwire/ipc-core';
import { Observable, type GroupedObservable, type OperatorFunction, type Subscriber } from 'rxjs';
import { canStart, refuse } from './never-started.ts';
import { takeFrom } from './through.ts';

/**
 * Splits requests into one Observable per client, with the client's id as `key`, that completes when the client leaves.
 *
 *     requests   --a1--b1--a2----b2--|      client a leaves after a2
 *     perClient()
 *     groups     --A---B-------------|
 *              A   a1------a2-|
 *              B       b1--------b2--|
 *
 * Memory: requests that find no subscriber of their group wait in it, unreleased, for the next one; those that were released meanwhile
 * are skipped. Backpressure: what waits counts against its client's window, so an unread group stops its own client and no other.
 *
 * Error: an error of the source goes to the groups and on. Unsubscribe: the source is left when the result and all groups have no
 * subscriber; what then waits was never started and is answered ERR_IPC_REFUSED.
 *
 * @example
 * server.requests$
 *   .pipe(
 *     perClient(),
 *     mergeMap((client$) => {
 *       let count = 0; // a session: state of one client
 *       return client$.pipe(map((request) => ({ ...request, data: Buffer.from(`you said ${++count} things`) })));
 *     }),
 *   )
 *   .subscribe(server.responses);
 */
export function perClient<T extends IpcRequest>(): OperatorFunction<T, GroupedObservable<number, T>> {
  return (requests$) => new Observable((subscriber) => new Clients(subscriber).start(requests$));
}

class Clients<T extends IpcRequest> {
  readonly #groups = new Map<number, Group<T>>();
  /** The group of the last request: requests come in runs. */
  #last: Group<T> | undefined;
  /** Who takes groups; undefined when it left. */
  #out: Subscriber<GroupedObservable<number, T>> | undefined;
  #leaveSource: (() => void) | undefined;
  #over = false;

  constructor(out: Subscriber<GroupedObservable<number, T>>) {
    this.#out = out;
  }

  start(requests$: Observable<T>): () => void {
    const subscription = takeFrom(requests$, {
      next: (request) => this.#take(request),
      error: (error) =>
        this.#end(
          (group) => group.finish({ error }),
          (out) => out.error(error),
        ),
      complete: () =>
        this.#end(
          (group) => group.finish('complete'),
          (out) => out.complete(),
        ),
    });
    if (this.#over) subscription.unsubscribe();
    else this.#leaveSource = () => subscription.unsubscribe();
    return () => {
      this.#out = undefined;
      this.leaveIfUnused();
    };
  }

  /** Leaves the source when nobody is left to take anything. */
  leaveIfUnused(): void {
    if (this.#over || this.#out !== undefined) return;
    for (const group of this.#groups.values()) if (group.observed) return;
    this.#over = true;
    this.#leaveSource?.();
    for (const group of this.#groups.values()) group.abandon();
    this.#groups.clear();
  }

  #take(request: T): void {
    const { clientId } = request;
    let group = this.#last;
    if (group === undefined || group.clientId !== clientId) {
      group = this.#groups.get(clientId) ?? this.#open(request);
      if (group === undefined) {
        refuse(request);
        return;
      }
      this.#last = group;
    }
    group.next(request);
  }

  #open(request: T): Group<T> | undefined {
    // Everybody who could take a new group has left; the others only go on with theirs.
    if (this.#out === undefined) return undefined;
    const { clientId } = request;
    const group = new Group<T>(clientId, () => this.leaveIfUnused());
    this.#groups.set(clientId, group);
    group.finishOn(originOf(request)?.clientSignal, () => {
      this.#groups.delete(clientId);
      if (this.#last === group) this.#last = undefined;
    });
    this.#out.next(group.requests$);
    return group;
  }

  #end(finish: (group: Group<T>) => void, tell: (out: Subscriber<GroupedObservable<number, T>>) => void): void {
    this.#over = true;
    const groups = [...this.#groups.values()];
    this.#groups.clear();
    for (const group of groups) finish(group);
    if (this.#out !== undefined) tell(this.#out);
  }
}

class Group<T extends IpcRequest> {
  readonly clientId: number;
  readonly requests$: GroupedObservable<number, T>;
  readonly #onUnused: () => void;
  /** The usual case is exactly one. */
  #subscriber: Subscriber<T> | undefined;
  readonly #others = new Set<Subscriber<T>>();
  /** What came while nobody was subscribed. */
  readonly #waiting = new Deque<T>();
  #end: 'complete' | { readonly error: unknown } | undefined;
  #ignoreSignal: (() => void) | undefined;

  constructor(clientId: number, onUnused: () => void) {
    this.clientId = clientId;
    this.#onUnused = onUnused;
    this.requests$ = Object.assign(new Observable<T>((subscriber) => this.#attach(subscriber)), { key: clientId });
  }

  get observed(): boolean {
    return this.#subscriber !== undefined;
  }

  /** Completes the group when `signal` aborts, and calls `onFinished` then. */
  finishOn(signal: AbortSignal | undefined, onFinished: () => void): void {
    if (signal === undefined) return;
    const onAbort = (): void => {
      onFinished();
      this.finish('complete');
    };
    signal.addEventListener('abort', onAbort, { once: true });
    this.#ignoreSignal = () => signal.removeEventListener('abort', onAbort);
  }

  next(request: T): void {
    const subscriber = this.#subscriber;
    // While what waited is being delivered, what comes then is behind it.
    if (subscriber === undefined || this.#waiting.length > 0) this.#waiting.push(request);
    else if (this.#others.size === 0) subscriber.next(request);
    else for (const each of [subscriber, ...this.#others]) each.next(request);
  }

  finish(end: 'complete' | { readonly error: unknown }): void {
    if (this.#end !== undefined) return;
    this.#end = end;
    this.#ignoreSignal?.();
    const subscriber = this.#subscriber;
    if (subscriber === undefined) return;
    for (const each of [subscriber, ...this.#others]) finishOne(each, end);
  }

  /** Nobody will ever subscribe. */
  abandon(): void {
    this.finish('complete');
    for (const request of this.#waiting.drain()) if (canStart(request)) refuse(request);
  }

  #attach(subscriber: Subscriber<T>): () => void {
    if (this.#subscriber === undefined) {
      this.#subscriber = subscriber;
      this.#deliverWaiting(subscriber);
    } else {
      this.#others.add(subscriber);
    }
    if (this.#end !== undefined) finishOne(subscriber, this.#end);
    return () => this.#detach(subscriber);
  }

  #deliverWaiting(subscriber: Subscriber<T>): void {
    while (!subscriber.closed) {
      const request = this.#waiting.shift();
      if (request === undefined) return;
      if (canStart(request)) subscriber.next(request);
    }
  }

  #detach(subscriber: Subscriber<T>): void {
    if (this.#subscriber === subscriber) {
      const [next] = this.#others;
      this.#subscriber = next;
      if (next === undefined) {
        this.#onUnused();
        return;
      }
      this.#others.delete(next);
      this.#deliverWaiting(next);
    } else {
      this.#others.delete(subscriber);
    }
  }
}

function finishOne<T>(subscriber: Subscriber<T>, end: 'complete' | { readonly error: unknown }): void {
  if (end === 'complete') subscriber.complete();
  else subscriber.error(end.error);
}
