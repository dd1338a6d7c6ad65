/** What the compiler knows of remote objects; `npm run check` evaluates it. */
import type { Observable } from 'rxjs';
import { expectTypeOf, test } from 'vitest';
import {
  createIpc,
  RpcTarget,
  type Ipc,
  type Remote,
  type RemoteInit,
  type RemoteObservable,
} from '@spanwire/ipc-process';

class Item extends RpcTarget {
  readonly label: string;

  constructor(label: string) {
    super();
    this.label = label;
  }

  get size(): number {
    return this.label.length;
  }
  changes(): Observable<string> {
    throw new Error(this.label);
  }
}

class Shop extends RpcTarget {
  price(name: string, count?: number): number {
    return name.length * (count ?? 1);
  }
  async find(name: string): Promise<Item> {
    return await Promise.resolve(new Item(name));
  }
  list(): { items: Item[]; at: Date } {
    return { items: [], at: new Date() };
  }
  prices(): Observable<number> {
    throw new Error('a type only');
  }
  async *orders(): AsyncGenerator<Uint8Array> {
    yield await Promise.resolve(new Uint8Array(1));
  }
  onSale(callback: (name: string) => void): void {
    callback('everything');
  }
}

declare const shop: RemoteInit<Shop>;
declare const item: Remote<Item>;

test('methods take and return what they do there, as promises', () => {
  expectTypeOf<typeof shop.price>().parameters.toExtend<[name: unknown, count?: unknown]>();
  const call = () => shop.price('a', 1);
  expectTypeOf<Awaited<ReturnType<typeof call>>>().toEqualTypeOf<number>();
  // @ts-expect-error: a name is a string.
  const wrong = () => shop.price(1);
  // @ts-expect-error: there is no such method.
  const missing = () => shop.steal();
  const onSale = () => shop.onSale((name) => expectTypeOf(name).toEqualTypeOf<string>());
  expectTypeOf([wrong, missing, onSale]).toBeArray();
});

test('objects are proxies of their class, also inside of other results', () => {
  const find = async () => await shop.find('a');
  expectTypeOf<Awaited<ReturnType<typeof find>>>().toHaveProperty('changes');
  const size = async () => await item.size;
  expectTypeOf<Awaited<ReturnType<typeof size>>>().toEqualTypeOf<number>();
  const list = async () => (await shop.list()).items[0]!;
  expectTypeOf<Awaited<ReturnType<typeof list>>>().toHaveProperty('changes');
  const at = async () => (await shop.list()).at;
  expectTypeOf<Awaited<ReturnType<typeof at>>>().toEqualTypeOf<Date>();
});

test('Observables and AsyncIterables are Observables, of objects that were returned as well', () => {
  const prices = async () => await shop.prices();
  expectTypeOf<Awaited<ReturnType<typeof prices>>>().toExtend<RemoteObservable<number>>();
  const orders = async () => await shop.orders();
  expectTypeOf<Awaited<ReturnType<typeof orders>>>().toExtend<Observable<Uint8Array>>();
  const changes = async () => await (await shop.find('a')).changes();
  expectTypeOf<Awaited<ReturnType<typeof changes>>>().toExtend<Observable<string>>();
});

test('the proxy of a main object can be disposed, and connecting may give none', () => {
  expectTypeOf<RemoteInit<Shop>>().toExtend<AsyncDisposable>();
  const connect = (ipc: Ipc) => ipc.connectAddress<Shop>('auto');
  expectTypeOf<Awaited<ReturnType<typeof connect>>>().toEqualTypeOf<RemoteInit<Shop> | null>();
});

test('the context has its own type', () => {
  expectTypeOf(createIpc({ context: { answer: 42 } }).context).toEqualTypeOf<{ answer: number }>();
  expectTypeOf(createIpc().context).toEqualTypeOf<undefined>();
});
