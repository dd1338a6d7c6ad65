/** The proxies that users hold of main objects: they stay the same when what is behind them is made again, and they can be disposed. */
import { show } from '@spanwire/ipc-core';
import type { RpcStub, RpcTarget } from 'capnweb';

/** What is behind a proxy. */
export interface Connection {
  /** What calls go to now. When disconnected, one whose calls fail. */
  readonly stub: RpcStub<RpcTarget>;
  /** Disconnects, and waits for a spawned process to be gone. Never rejects; idempotent. */
  disconnect(): Promise<void>;
}

export class Handles<C extends Connection> {
  readonly #entries = new WeakMap<object, Entry<C>>();
  readonly #live = new Set<Entry<C>>();

  /** Makes the proxy of `connection`. */
  create(connection: C): object {
    const entry = new Entry(connection, () => this.#live.delete(entry));
    this.#live.add(entry);
    // A function, because a proxy can only be called if its target can.
    const proxy = new Proxy(() => undefined, new Handle(entry));
    this.#entries.set(proxy, entry);
    return proxy;
  }

  /** Throws TypeError unless `proxy` was made here. */
  connectionOf(proxy: unknown): C {
    return this.#entryOf(proxy).connection;
  }

  addCleanup(proxy: unknown, cleanup: () => unknown): void {
    this.#entryOf(proxy).addCleanup(cleanup);
  }

  /** Disposes all proxies at once; rejects when clean-ups failed. */
  async disposeAll(): Promise<void> {
    const results = await Promise.allSettled([...this.#live].map((entry) => entry.dispose()));
    throwAll(results.flatMap((result) => (result.status === 'rejected' ? [result.reason as unknown] : [])));
  }

  #entryOf(proxy: unknown): Entry<C> {
    const entry = typeof proxy === 'function' ? this.#entries.get(proxy) : undefined;
    if (entry === undefined) {
      throw new TypeError(
        `Expected \`proxy\` to be one that spawnProcess or connectAddress of this Ipc returned, got ${show(proxy)}`,
      );
    }
    return entry;
  }
}

class Entry<C extends Connection> {
  readonly connection: C;
  readonly #onDisposed: () => void;
  readonly #cleanups: Array<() => unknown> = [];
  #disposed: Promise<void> | undefined;

  constructor(connection: C, onDisposed: () => void) {
    this.connection = connection;
    this.#onDisposed = onDisposed;
  }

  addCleanup(cleanup: () => unknown): void {
    if (this.#disposed !== undefined) throw new TypeError('Expected `proxy` to be in use, got one that was disposed');
    this.#cleanups.push(cleanup);
  }

  dispose(): Promise<void> {
    return (this.#disposed ??= this.#dispose());
  }

  async #dispose(): Promise<void> {
    await this.connection.disconnect();
    const failures: unknown[] = [];
    for (const cleanup of this.#cleanups) {
      try {
        await cleanup();
      } catch (error) {
        failures.push(error);
      }
    }
    this.#onDisposed();
    throwAll(failures);
  }
}

class Handle implements ProxyHandler<() => void> {
  readonly #entry: Entry<Connection>;

  constructor(entry: Entry<Connection>) {
    this.#entry = entry;
  }

  get(_target: unknown, key: PropertyKey): unknown {
    if (key === Symbol.asyncDispose) return () => this.#entry.dispose();
    // Without anybody who waits: a failing clean-up is an unhandled rejection, as it should be.
    if (key === Symbol.dispose) return () => void this.#entry.dispose();
    return Reflect.get(this.#stub, key);
  }

  has(_target: unknown, key: PropertyKey): boolean {
    return key === Symbol.asyncDispose || key === Symbol.dispose || key in this.#stub;
  }

  apply(_target: unknown, self: unknown, parameters: unknown[]): unknown {
    return Reflect.apply(this.#stub as unknown as () => unknown, self, parameters);
  }

  getPrototypeOf(): object | null {
    return Object.getPrototypeOf(this.#stub) as object | null;
  }

  set(_target: unknown, key: PropertyKey, value: unknown): boolean {
    return Reflect.set(this.#stub, key, value);
  }

  get #stub(): object {
    return this.#entry.connection.stub;
  }
}

function throwAll(failures: readonly unknown[]): void {
  if (failures.length === 1) throw failures[0];
  if (failures.length > 1) throw new AggregateError(failures, `${failures.length} clean-ups failed`);
}
