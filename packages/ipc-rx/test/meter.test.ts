import type { Bytes, IpcRequest, IpcResponse } from '@spanwire/ipc-core';
import { createMeter, handle, meter, type Meter, type MeterSnapshot } from '@spanwire/ipc-rx';
import { firstValueFrom, Subject, type MonoTypeOperatorFunction, type Observable } from 'rxjs';
import { describe, expect, expectTypeOf, it, vi } from 'vitest';
import { refuses } from './support/bad-arguments.ts';
import { Log } from './support/log.ts';
import { MarbleClients } from './support/marble-request.ts';
import { marbles } from './support/marbles.ts';
import { bytes } from './support/text.ts';
import { transports } from './support/transports.ts';

describe('meter, in marbles', () => {
  it('counts and changes nothing', () => {
    marbles(({ cold, expectObservable, expectSubscriptions, flush }) => {
      const clients = new MarbleClients();
      const values = { a: clients.request('a1', bytes('12345')), b: clients.request('b2', bytes('123')) };
      const traffic = createMeter();
      const source = cold('-a-b-#', values);
      expectObservable(source.pipe(meter(traffic))).toBe('-a-b-#', values);
      expectObservable(source.pipe(meter(createMeter())), '--!').toBe('-a-', values);
      expectSubscriptions(source.subscriptions).toBe(['^----!', '^-!']);
      flush();
      expect(traffic.snapshot()).toMatchObject({ requests: 2, requestBytes: 8, inFlight: 2, answers: 0 });
      values.a.answer({});
      expect(traffic.snapshot()).toMatchObject({ inFlight: 1, latencyNs: { count: 1 } });
    });
  });

  it('counts answers where it sees them', () => {
    const traffic = createMeter();
    const answers$ = new Subject<IpcResponse>();
    answers$.pipe(meter(traffic)).subscribe();
    answers$.next({ clientId: 1, requestId: 1, data: bytes('12') });
    answers$.next({ clientId: 1, requestId: 2, error: new Error('no') });
    answers$.next({ clientId: 1, requestId: 3 });
    expect(traffic.snapshot()).toMatchObject({ answers: 3, errors: 1, answerBytes: 2, requests: 0 });
  });

  it('gives snapshots at an interval, while subscribed', () => {
    marbles(({ expectObservable }) => {
      const traffic = createMeter();
      traffic.requests = 5;
      const snapshot = traffic.snapshot();
      expectObservable(traffic.snapshots$(3), '^------!').toBe('---a--a-', { a: snapshot });
    });
  });

  it.each([
    ['all requests, below 10,000 a second', 0.2, 1000],
    ['a part of them, up to every 64th, above it', 0.0005, undefined],
  ])('measures %s', (_title, everyMs, expected) => {
    let nowMs = 0;
    const clock = vi.spyOn(performance, 'now').mockImplementation(() => nowMs);
    const clients = new MarbleClients();
    const requests$ = new Subject<IpcRequest>();
    const traffic = createMeter();
    requests$.pipe(meter(traffic)).subscribe((request) => request.respond(bytes('')));
    for (let i = 0; i < 1000; i++) {
      nowMs += everyMs;
      requests$.next(clients.request('a1'));
    }
    clock.mockRestore();
    const { requests, inFlight, latencyNs } = traffic.snapshot();
    expect({ requests, inFlight }).toEqual({ requests: 1000, inFlight: 0 });
    // The 1st, 3rd, 7th, ... 63rd, and after those every 64th.
    expect(latencyNs.count).toBe(expected ?? 6 + Math.floor((1000 - 63) / 64));
  });
});

it('meter keeps the type of what passes, and refuses bad arguments at once', () => {
  expectTypeOf(meter<IpcRequest>(createMeter())).toEqualTypeOf<MonoTypeOperatorFunction<IpcRequest>>();
  expectTypeOf<ReturnType<Meter['snapshots$']>>().toEqualTypeOf<Observable<MeterSnapshot>>();
  refuses(() => meter({ next: () => undefined } as never));
  refuses(() => createMeter().snapshots$(0), RangeError);
});

describe.each(transports)('meter over $name', ({ open }) => {
  it('sees requests, answers and latency of a running server', async () => {
    await using scene = await open();
    const client = await scene.connect();
    const traffic = createMeter();
    const running = new Log<() => void>();
    const handler = (_clientId: number, request: Bytes): Promise<Bytes> =>
      new Promise((resolve) => running.add(() => resolve(request)));
    scene.server.requests$.pipe(meter(traffic), handle(handler), meter(traffic)).subscribe(scene.server.responses);
    const replies = [client.request(bytes('123')), client.request(bytes('1234567'))];
    await running.reaches(2);
    expect(traffic.snapshot()).toMatchObject({ requests: 2, inFlight: 2, requestBytes: 10, answers: 0 });
    for (const finish of running.entries) finish();
    await Promise.all(replies);
    const snapshot = await firstValueFrom(traffic.snapshots$(1));
    expect(snapshot).toMatchObject({ requests: 2, inFlight: 0, answers: 2, errors: 0, answerBytes: 10 });
    expect(snapshot.latencyNs.count).toBe(2);
    expect(snapshot.latencyNs.max).toBeGreaterThanOrEqual(snapshot.latencyNs.min);
  });
});
