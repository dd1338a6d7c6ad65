/** Observables and AsyncIterables across processes. */
import {
  firstValueFrom,
  from,
  isObservable,
  lastValueFrom,
  map,
  Observable,
  of,
  range,
  take,
  throwError,
  toArray,
} from 'rxjs';
import { expect, expectTypeOf, test } from 'vitest';
import type { RemoteError } from '@spanwire/ipc-core';
import { expose, RemoteObservable, RpcTarget, type RemoteInit } from '@spanwire/ipc-process';
import { NotFoundError, type Service } from './fixtures/service.mjs';
import { deferred, fixture, rejection, testIpc } from './support.ts';

function spawnService(): Promise<RemoteInit<Service>> {
  return testIpc({ errors: [NotFoundError] }).spawnProcess<Service>(fixture('worker.mjs'));
}

test('a method that returns an Observable gives an Observable, which subscribes in the other process', async () => {
  const service = await spawnService();
  const numbers$ = await service.numbers();
  expectTypeOf(numbers$).toExtend<Observable<number>>();
  expect(numbers$).toBeInstanceOf(Observable);
  expect(numbers$).toBeInstanceOf(RemoteObservable);
  expect(await service.subscribers()).toBe(0);

  const received: number[] = [];
  const twice: number[] = [];
  const done = deferred();
  numbers$.subscribe({ next: (value) => received.push(value), complete: () => done.resolve() });
  numbers$.pipe(map((value) => value * 2)).subscribe((value) => twice.push(value));
  expect(await service.subscribers()).toBe(2);
  await service.emit(1, 3);
  await service.end('complete');
  await done.promise;
  expect(received).toEqual([1, 2, 3]);
  expect(twice).toEqual([2, 4, 6]);
});

test('unsubscribing unsubscribes in the other process, though nothing is emitted', async () => {
  const service = await spawnService();
  const numbers$ = await service.numbers();
  const subscription = numbers$.subscribe();
  expect(await service.subscribers()).toBe(1);
  subscription.unsubscribe();
  await service.unsubscribed();
  expect(await service.subscribers()).toBe(0);
});

test('unsubscribing before the other process has answered leaves nothing behind', async () => {
  const service = await spawnService();
  const numbers$ = await service.numbers();
  for (let i = 0; i < 20; i++) numbers$.subscribe().unsubscribe();
  await service.unsubscribed();
  expect(await service.subscribers()).toBe(0);
});

test('take(n) gets n items and ends the subscription in the other process', async () => {
  const service = await spawnService();
  const numbers$ = await service.numbers();
  const taken = lastValueFrom(numbers$.pipe(take(3), toArray()));
  expect(await service.subscribers()).toBe(1);
  await service.emit(0, 10);
  expect(await taken).toEqual([0, 1, 2]);
  await service.unsubscribed();
});

test('an error of an Observable arrives as errors of calls do', async () => {
  const service = await spawnService();
  const last = rejection(lastValueFrom(await service.numbers()));
  expect(await service.subscribers()).toBe(1);
  await service.end('declared');
  expect(await last).toBeInstanceOf(NotFoundError);
});

test('an Observable inside of objects and lists arrives as one', async () => {
  const service = await spawnService();
  const [entry] = await service.nested();
  expect(entry?.name).toBe('inner');
  const first = firstValueFrom(entry!.numbers$);
  expect(await service.subscribers()).toBe(1);
  await service.emit(9, 1);
  expect(await first).toBe(9);
});

test('an object that a method returned can return Observables as well', async () => {
  const service = await spawnService();
  const counter = await service.counter(3);
  const countdown$ = await counter.countdown();
  expectTypeOf(countdown$).toExtend<Observable<number>>();
  expect(await lastValueFrom(countdown$.pipe(toArray()))).toEqual([3, 2, 1]);
});

test('an AsyncIterable is produced only as fast as this side asks for more', async () => {
  const service = await spawnService();
  const items = await service.produce(100_000, 0);
  const iterator = items[Symbol.asyncIterator]();
  expect((await iterator.next()).value).toBe(0);
  // Nothing is asked for now: the window fills, and then production stops.
  let pulled = -1;
  for (let now = await service.pulled(); now !== pulled; now = await service.pulled()) pulled = now;
  expect(pulled).toBeGreaterThan(0);
  expect(pulled).toBeLessThan(1_000);
  for (let i = 1; i < 5_000; i++) expect((await iterator.next()).value).toBe(i);
  expect(await service.pulled()).toBeGreaterThanOrEqual(5_000);
  await iterator.return?.();
});

test('large items are bounded by bytes, not by their number', async () => {
  const service = await spawnService();
  const items = await service.produce(1_000, 200_000);
  const iterator = items[Symbol.asyncIterator]();
  expect(((await iterator.next()).value as Uint8Array).byteLength).toBe(200_000);
  let pulled = -1;
  for (let now = await service.pulled(); now !== pulled; now = await service.pulled()) pulled = now;
  expect(pulled).toBeLessThan(10);
  await iterator.return?.();
});

test('an AsyncIterable can be subscribed to, and ends', async () => {
  const service = await spawnService();
  const items = await service.produce(1_000, 0);
  const all = await lastValueFrom(items.pipe(toArray()));
  expect(all).toEqual(Array.from({ length: 1_000 }, (_, i) => i));
});

test('an Observable whose subscriber is more than 1,024 items behind fails with ERR_IPC_OVERLOADED', async () => {
  const service = await spawnService();
  const numbers$ = await service.numbers();
  const iterator = numbers$[Symbol.asyncIterator]();
  const first = iterator.next();
  expect(await service.subscribers()).toBe(1);
  await service.emit(0, 1);
  expect((await first).value).toBe(0);
  // Nothing more is asked for: 256 items are under way, 1,024 wait, and then there are too many.
  for (let i = 0; i < 40; i++) await service.emit(i * 100, 100);
  await service.unsubscribed();
  const error = await rejection(
    (async () => {
      for (;;) await iterator.next();
    })(),
  );
  expect(error).toMatchObject({
    code: 'ERR_IPC_OVERLOADED',
    message: 'Expected a subscriber at most 1024 items behind its Observable, got one further behind',
  });
});

test.each(['drop-newest', 'drop-oldest'] as const)(
  'an Observable with overflow %s drops items for a slower subscriber, and goes on to its end',
  async (overflow) => {
    const env = { ...process.env, OPTIONS: JSON.stringify({ overflow }) };
    const service = await testIpc().spawnProcess<Service>(fixture('worker.mjs'), { env });
    const numbers$ = await service.numbers();
    const iterator = numbers$[Symbol.asyncIterator]();
    const first = iterator.next();
    expect(await service.subscribers()).toBe(1);
    await service.emit(0, 1);
    expect((await first).value).toBe(0);
    for (let i = 0; i < 40; i++) await service.emit(1 + i * 100, 100);
    await service.end('complete');
    const rest: number[] = [];
    for (let next = await iterator.next(); next.done !== true; next = await iterator.next()) rest.push(next.value);
    // At most 256 are under way and 1,024 wait: those that came last, or those that came first.
    expect(rest.length).toBeLessThanOrEqual(256 + 1024);
    const kept = overflow === 'drop-newest' ? rest : rest.slice(-1024);
    const from = overflow === 'drop-newest' ? 1 : 4001 - 1024;
    expect(kept.length).toBeGreaterThanOrEqual(1024);
    expect(kept).toEqual(kept.map((_, i) => from + i));
  },
);

test('what is exposed has an overflow of its own', async () => {
  const service = await spawnService();
  const sumOf = (from: number, to: number): number => ((to - from + 1) * (from + to)) / 2;
  // All come in one go: 256 are sent, 1,024 wait.
  const burst$ = range(1, 5_000);
  expect(await service.sum(expose(burst$, { overflow: 'drop-newest' }))).toBe(sumOf(1, 1_280));
  expect(await service.sum(expose(burst$, { overflow: 'drop-oldest' }))).toBe(sumOf(1, 256) + sumOf(3_977, 5_000));
  // Told to the subscriber there, which passes it on.
  expect(await rejection(service.sum(expose(burst$)))).toMatchObject({ code: 'ERR_IPC_OVERLOADED' });
  expect(() => expose(burst$, { overflow: 'wait' as never })).toThrow('Expected `overflow` to be');
});

test('an argument can be an Observable, when it is exposed', async () => {
  const service = await spawnService();
  expect(await service.sum(expose(range(1, 100)))).toBe(5_050);
  expect(await service.sum(expose(from([1, 2, 3])))).toBe(6);
  expect(() => service.sum(of(1))).toThrow(TypeError);
  const error = await rejection(
    service.sum(expose(throwError(() => new NotFoundError('empty', { path: '/', at: new Date() })))),
  );
  expect(error).toBeInstanceOf(NotFoundError);
});

test('a function or object that is exposed may return Observables', async () => {
  const service = await spawnService();
  await service.keep(expose(() => of(4, 5)));
  const kept = await service.callKept();
  expect(isObservable(kept)).toBe(true);
  expect(await lastValueFrom((kept as Observable<number>).pipe(toArray()))).toEqual([4, 5]);
  // What the other side has of it.
  type SourceProxy = Parameters<Service['sumOf']>[0];
  class Source extends RpcTarget {
    numbers(): Observable<number> {
      return of(1, 2, 3);
    }
  }
  expect(await service.sumOf(expose(new Source()) as unknown as SourceProxy)).toBe(6);
});

test('an Observable passes through a process that only hands it on', async () => {
  const service = await spawnService();
  const there = await service.numbers();
  const relayed = (await service.relay(expose(there))) as Observable<number>;
  const received = deferred<number>();
  const subscription = relayed.subscribe((value) => received.resolve(value));
  // From there to here, and from here to there: the subscription arrives when it arrives.
  while ((await service.subscribers()) === 0);
  await service.emit(7, 1);
  expect(await received.promise).toBe(7);
  subscription.unsubscribe();
  await service.unsubscribed();
});

test('the result of one call can be the argument of the next, though it is an Observable', async () => {
  const service = await spawnService();
  const counter = await service.counter(4);
  expect(await service.sum(counter.countdown() as unknown as Observable<number>)).toBe(10);
});

test('an Observable errors when its connection ends, and when it is subscribed to afterwards', async () => {
  const ipc = testIpc();
  const service = await ipc.spawnProcess<Service>(fixture('worker.mjs'));
  const numbers$ = await service.numbers();
  const last = rejection(lastValueFrom(numbers$));
  const pulled = rejection(numbers$[Symbol.asyncIterator]().next());
  expect(await service.subscribers()).toBe(2);
  ipc.processOf(service).kill('SIGKILL');
  for (const error of [await last, await pulled]) expect(error).toMatchObject({ code: 'ERR_IPC_PEER_GONE' });
  expect(await rejection(lastValueFrom(numbers$))).toMatchObject({
    code: 'ERR_IPC_PEER_GONE',
    message: 'Called after disconnect',
  });
});

test('an Observable that came as an argument goes with its call, unless it was dup()ed', async () => {
  const service = await spawnService();
  await service.keepStream(expose(range(1, 4)));
  expect(await service.sumOfStream('kept')).toBe(10);
  const error = await rejection(service.sumOfStream('lost'));
  expect((error as RemoteError).remote.code).toBe('ERR_IPC_CLOSED');
});

test('an Observable that was disposed cannot be subscribed to, and says so', async () => {
  const service = await spawnService();
  const numbers$ = await service.numbers();
  numbers$[Symbol.dispose]();
  expect(await rejection(lastValueFrom(numbers$))).toMatchObject({
    code: 'ERR_IPC_CLOSED',
    message: expect.stringContaining('got one that was disposed') as string,
  });
});
