import type { Bytes, IpcRequest } from '@spanwire/ipc-core';
import { handle, shedLoad } from '@spanwire/ipc-rx';
import type { MonoTypeOperatorFunction } from 'rxjs';
import { describe, expect, expectTypeOf, it } from 'vitest';
import { refuses } from './support/bad-arguments.ts';
import { Log } from './support/log.ts';
import { MarbleClients } from './support/marble-request.ts';
import { marbles } from './support/marbles.ts';
import { bytes, text } from './support/text.ts';
import { transports } from './support/transports.ts';

describe('shedLoad, in marbles', () => {
  it('sheds while too much is in flight, and passes again afterwards', () => {
    marbles(({ cold, hot, expectObservable, flush }) => {
      const values = new MarbleClients().requests({ a: 'a1', b: 'b2', c: 'a3', d: 'a4' });
      hot('----1', { 1: values.a }).subscribe((request) => request.answer({}));
      const passed$ = cold('-abc-d|', values).pipe(shedLoad({ when: ({ inFlight }) => inFlight >= 2 }));
      expectObservable(passed$).toBe('-ab--d|', values);
      flush();
      expect(values.c.failure?.code).toBe('ERR_IPC_OVERLOADED');
      expect(values.c.released).toBe(true);
    });
  });

  it('answers what it sheds with bytes when told so', () => {
    marbles(({ cold, expectObservable, flush }) => {
      const { a } = new MarbleClients().requests({ a: 'a1' });
      const shed = shedLoad<IpcRequest>({ when: () => true, respond: ({ requestId }) => Uint8Array.of(requestId) });
      expectObservable(cold('-a-|', { a }).pipe(shed)).toBe('---|');
      flush();
      expect(a.outcome).toEqual({ data: Uint8Array.of(1) });
    });
  });

  it('errors when its own functions throw, passes errors on, and leaves the source when it is left', () => {
    marbles(({ cold, expectObservable, expectSubscriptions }) => {
      const values = new MarbleClients().requests({ a: 'a1' });
      const broken = new Error('broken');
      const thrower = (): never => {
        throw broken;
      };
      expectObservable(cold('-a', values).pipe(shedLoad({ when: thrower }))).toBe('-#', undefined, broken);
      expectObservable(cold('-a', values).pipe(shedLoad({ when: () => true, respond: thrower }))).toBe(
        '-#',
        undefined,
        broken,
      );
      const source = cold<IpcRequest>('--#');
      expectObservable(source.pipe(shedLoad({ when: () => false }))).toBe('--#');
      expectObservable(source.pipe(shedLoad({ when: () => false })), '-!').toBe('--');
      expectSubscriptions(source.subscriptions).toBe(['^-!', '^!']);
    });
  });
});

it('shedLoad keeps the type of its requests, and refuses bad arguments at once', () => {
  expectTypeOf(shedLoad<IpcRequest>({ when: () => false })).toEqualTypeOf<MonoTypeOperatorFunction<IpcRequest>>();
  refuses(() => shedLoad({ when: true as never }));
  refuses(() => shedLoad({ when: () => false, respond: bytes('no') as never }));
});

describe.each(transports)('shedLoad over $name', ({ open }) => {
  it('tells clients at once, and serves what it took', async () => {
    await using scene = await open();
    const client = await scene.connect();
    const running = new Log<() => void>();
    const slowly = (_clientId: number, request: Bytes): Promise<Bytes> =>
      new Promise((resolve) => running.add(() => resolve(request)));
    scene.server.requests$
      .pipe(shedLoad({ when: ({ inFlight }) => inFlight >= 5 }), handle(slowly))
      .subscribe(scene.server.responses);
    const calls = Array.from({ length: 20 }, (_, i) => client.request(bytes(String(i))));
    const outcomes = Promise.allSettled(calls);
    for (const call of calls.slice(5)) await expect(call).rejects.toMatchObject({ code: 'ERR_IPC_OVERLOADED' });
    for (const finish of running.entries) finish();
    const served = (await outcomes).filter((each) => each.status === 'fulfilled');
    expect(served.map((each) => text(each.value))).toEqual(['0', '1', '2', '3', '4']);
    expect(running.entries).toHaveLength(5);
    // Nothing is left over: the next one is served.
    const next = client.request(bytes('next'));
    await running.reaches(6);
    running.entries[5]?.();
    expect(text(await next)).toBe('next');
  });
});
