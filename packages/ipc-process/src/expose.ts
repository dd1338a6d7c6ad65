/**
 * What leaves a process, made ready to leave it: Observables and AsyncIterables become something that capnweb can carry, and objects and
 * functions become facades that do the same with what they return.
 */
import { oneOf, type Overflow } from '@spanwire/ipc-core';
import { RpcPromise, RpcStub, RpcTarget } from 'capnweb';
import { isObservable } from 'rxjs';
import { OutgoingStream } from './outgoing-stream.ts';
import { isAsyncIterable } from './stream-source.ts';

/** What a connection wants to know of the calls it brings. */
export interface ExposeScope {
  readonly overflow: Overflow;
  /** A call began; the returned function is to be called when it has finished. */
  began(): () => void;
  /** The disposer of an object threw. */
  disposeFailed(error: unknown): void;
}

export interface ExposeOptions {
  /**
   * What an Observable does whose subscriber in another process is more than 1,024 items behind: it fails with ERR_IPC_OVERLOADED, or drops items.
   * Default `error`.
   */
  readonly overflow?: Overflow | undefined;
}

type Callable = (...parameters: unknown[]) => unknown;

/** Facades are not put before facades. */
const facades = new WeakSet<object>();

/**
 * Prepares `value` to be an argument of a remote call: an Observable or AsyncIterable arrives as an Observable, and methods of objects
 * (RpcTargets) and functions in it may return such. Nothing else changes. What methods of `init` return is exposed without being asked.
 *
 * @example
 * await worker.consume(expose(interval(100)));
 */
export function expose<T>(value: T, options: ExposeOptions = {}): T {
  const overflow = oneOf('overflow', options.overflow, ['error', 'drop-oldest', 'drop-newest'], 'error');
  return exposeIn(value, { overflow, began: () => ignore, disposeFailed: reportLater }, new WeakMap()) as T;
}

/** As {@link expose}, with facades that tell `scope`. One object has one facade in `known`. */
function exposeIn(value: unknown, scope: ExposeScope, known: WeakMap<object, object>): unknown {
  if ((typeof value !== 'object' && typeof value !== 'function') || value === null) return value;
  // Stubs have every property one asks them for, so nothing else may be asked of them.
  if (value instanceof RpcPromise) return value;
  // capnweb cannot give an object back to the process where it lives. A stub of the stub takes it for an object from here.
  if (value instanceof RpcStub) return new RpcStub(value);
  if (value instanceof OutgoingStream || facades.has(value)) return value;
  if (value instanceof RpcTarget || typeof value === 'function') {
    let facade = known.get(value);
    if (facade === undefined) {
      facade = new Proxy(value, new Facade(scope, known));
      facades.add(facade);
      known.set(value, facade);
    }
    return facade;
  }
  if (isObservable(value)) return new OutgoingStream(value, scope.overflow);
  const prototype: unknown = Object.getPrototypeOf(value);
  if (Array.isArray(value) || prototype === Object.prototype) {
    return exposeMembers(value as Record<string, unknown>, scope, known);
  }
  // capnweb has its own way with web streams.
  const isStream = prototype !== ReadableStream.prototype && isAsyncIterable(value);
  return isStream ? new OutgoingStream(value, scope.overflow) : value;
}

/** The list or plain object itself, or a copy when something in it had to be replaced. */
function exposeMembers(
  value: Record<string, unknown>,
  scope: ExposeScope,
  known: WeakMap<object, object>,
): Record<string, unknown> {
  let copy: Record<string, unknown> | undefined;
  for (const key of Object.keys(value)) {
    const member = value[key];
    // Most members are nothing to look into, and lists can be long.
    if (typeof member !== 'object' && typeof member !== 'function') continue;
    const exposed = exposeIn(member, scope, known);
    if (exposed === member) continue;
    copy ??= (Array.isArray(value) ? [...(value as unknown[])] : { ...value }) as Record<string, unknown>;
    copy[key] = exposed;
  }
  return copy ?? value;
}

/** The facade of a value that is served to many and disposed by none of them. */
export function exposeShared(target: RpcTarget, scope: ExposeScope): RpcTarget {
  const facade = new Proxy<RpcTarget>(target, new Facade(scope, new WeakMap(), true));
  facades.add(facade);
  return facade;
}

class Facade implements ProxyHandler<object> {
  readonly #scope: ExposeScope;
  readonly #known: WeakMap<object, object>;
  readonly #shared: boolean;
  readonly #methods = new Map<Callable, Callable>();

  constructor(scope: ExposeScope, known: WeakMap<object, object>, shared = false) {
    this.#scope = scope;
    this.#known = known;
    this.#shared = shared;
  }

  has(target: object, key: PropertyKey): boolean {
    return key === Symbol.dispose && this.#shared ? false : key in target;
  }

  get(target: object, key: PropertyKey): unknown {
    const value: unknown = Reflect.get(target, key, target);
    if (typeof value !== 'function') return exposeIn(value, this.#scope, this.#known);
    if (key === Symbol.dispose) return () => this.#dispose(target, value as Callable);
    // Not of a method: what every function has, such as `apply`.
    if (typeof target === 'function' && !Object.hasOwn(target, key)) return value;
    let method = this.#methods.get(value as Callable);
    if (method === undefined) {
      method = (...parameters) => this.#call(value as Callable, target, parameters);
      this.#methods.set(value as Callable, method);
    }
    return method;
  }

  apply(target: object, self: unknown, parameters: unknown[]): unknown {
    return this.#call(target as Callable, self, parameters);
  }

  #call(method: Callable, self: unknown, parameters: unknown[]): unknown {
    const finished = this.#scope.began();
    let result: unknown;
    try {
      result = Reflect.apply(method, self, parameters);
    } catch (error) {
      finished();
      throw error;
    }
    // A stub or a promise of capnweb's is passed on as it is: it may be resolved where it is needed.
    if (!(result instanceof Promise)) {
      finished();
      return exposeIn(result, this.#scope, this.#known);
    }
    return result.then(
      (value) => {
        finished();
        return exposeIn(value, this.#scope, this.#known);
      },
      (error: unknown) => {
        finished();
        throw error;
      },
    );
  }

  /** The one who let go of the object has no use for the failure, and capnweb would make an unhandled rejection of it. */
  #dispose(target: object, disposer: Callable): void {
    try {
      const result = Reflect.apply(disposer, target, []);
      if (result instanceof Promise) result.catch((error: unknown) => this.#scope.disposeFailed(error));
    } catch (error) {
      this.#scope.disposeFailed(error);
    }
  }
}

function ignore(): void {}

function reportLater(error: unknown): void {
  process.emitWarning(`The disposer of an exposed object failed: ${String(error)}`, { code: 'SPANWIRE_IPC_DISPOSE' });
}
