import type { Bytes, IpcRequest } from '@spanwire/ipc-core';
import { fairly, handle } from '@spanwire/ipc-rx';
import { tap, type MonoTypeOperatorFunction } from 'rxjs';
import { afterEach, beforeEach, describe, expect, expectTypeOf, it, vi } from 'vitest';
import { refuses } from './support/bad-arguments.ts';
import { Log } from './support/log.ts';
import { MarbleClients } from './support/marble-request.ts';
import { marbles } from './support/marbles.ts';
import { bytes, text } from './support/text.ts';
import { transports } from './support/transports.ts';

describe('fairly, in marbles', () => {
  // Virtual time takes real time, and in it no turn of the event loop would come.
  beforeEach(() => {
    vi.spyOn(performance, 'now').mockReturnValue(0);
  });
  afterEach(() => {
    vi.restoreAllMocks();
  });

  it('lets clients take turns while answers are awaited', () => {
    marbles(({ cold, hot, expectObservable }) => {
      const values = new MarbleClients().requests({ a: 'a1', b: 'a2', c: 'a3', d: 'a4', x: 'b5', y: 'c6' });
      const { a, b, x, y, c } = values;
      hot('------------1-2-3-4-5', { 1: a, 2: b, 3: x, 4: y, 5: c }).subscribe((request) => request.answer({}));
      expectObservable(cold('-(abcd)x-y-|', values).pipe(fairly({ inFlight: 1 }))).toBe(
        '-a----------b-x-y-c-(d|)',
        values,
      );
    });
  });

  it('passes at once while there is room', () => {
    marbles(({ cold, expectObservable }) => {
      const values = new MarbleClients().requests({ a: 'a1', b: 'b2', c: 'a3' });
      expectObservable(cold('-a-b-(c|)', values).pipe(fairly())).toBe('-a-b-(c|)', values);
    });
  });

  it('refuses what waits when it is left, and when the source fails', () => {
    marbles(({ cold, hot, expectObservable, expectSubscriptions, flush }) => {
      const left = new MarbleClients().requests({ a: 'a1', b: 'b2' });
      const failed = new MarbleClients().requests({ a: 'a1', b: 'b2' });
      const source = hot('-ab--', left);
      expectObservable(source.pipe(fairly({ inFlight: 1 })), '---!').toBe('-a--', left);
      expectSubscriptions(source.subscriptions).toBe('^--!');
      expectObservable(cold('-ab#', failed).pipe(fairly({ inFlight: 1 }))).toBe('-a-#', failed);
      flush();
      expect([left.b.failure?.code, failed.b.failure?.code]).toEqual(['ERR_IPC_REFUSED', 'ERR_IPC_REFUSED']);
    });
  });
});

it('fairly keeps the type of its requests, and refuses bad arguments at once', () => {
  expectTypeOf(fairly<IpcRequest>()).toEqualTypeOf<MonoTypeOperatorFunction<IpcRequest>>();
  refuses(() => fairly({ inFlight: 0 }), RangeError);
  refuses(() => fairly({ inFlight: 'all' as never }));
});

describe.each(transports)('fairly over $name', ({ open }) => {
  it('serves a single request in the midst of a flood of another client', async () => {
    await using scene = await open();
    const [flood, single] = [await scene.connect(), await scene.connect()];
    const order = new Log<string>();
    const arrived = new Log<true>();
    const finish: Array<() => void> = [];
    const handler = (_clientId: number, request: Bytes): Promise<Bytes> => {
      order.add(text(request));
      return new Promise((resolve) => finish.push(() => resolve(request)));
    };
    scene.server.requests$
      .pipe(
        tap(() => arrived.add(true)),
        fairly({ inFlight: 2 }),
        handle(handler),
      )
      .subscribe(scene.server.responses);
    const replies = Array.from({ length: 200 }, () => flood.request(bytes('flood')));
    await arrived.reaches(200);
    const reply = single.request(bytes('single'));
    await arrived.reaches(201);
    for (let i = 0; i < 200; i++) {
      await order.reaches(Math.min(201, i + 2));
      finish[i]?.();
    }
    finish[200]?.();
    await Promise.all([reply, ...replies]);
    // Two were with the handler; then at most one of the flood goes before it.
    expect(order.entries.indexOf('single')).toBeLessThanOrEqual(3);
  });

  it('reads what others sent between slow handlers that answer at once', async () => {
    await using scene = await open();
    const [flood, single] = [await scene.connect(), await scene.connect()];
    const order: string[] = [];
    const first = new Log<true>();
    scene.server.requests$
      .pipe(
        fairly(),
        handle((_clientId, request) => {
          order.push(text(request));
          first.add(true);
          busy(2);
          return request;
        }),
      )
      .subscribe(scene.server.responses);
    const replies = Array.from({ length: 100 }, () => flood.request(bytes('flood')));
    await first.reaches(1);
    const reply = single.request(bytes('single'));
    await Promise.all([reply, ...replies]);
    // Without turns it would come behind all that came with the first of the flood.
    expect(order.indexOf('single')).toBeLessThan(50);
    expect(order).toHaveLength(101);
  });
});

/** Works for `ms` milliseconds, as a handler may. */
function busy(ms: number): void {
  const until = performance.now() + ms;
  while (performance.now() < until);
}
