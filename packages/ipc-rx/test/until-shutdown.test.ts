import type { Bytes, IpcRequest } from '@spanwire/ipc-core';
import { handle, untilShutdown } from '@spanwire/ipc-rx';
import { NEVER, Subject, type MonoTypeOperatorFunction } from 'rxjs';
import { describe, expect, expectTypeOf, it } from 'vitest';
import { Log } from './support/log.ts';
import { MarbleClients } from './support/marble-request.ts';
import { marbles } from './support/marbles.ts';
import { bytes, text } from './support/text.ts';
import { transports } from './support/transports.ts';

describe('untilShutdown, in marbles', () => {
  it('completes when the signal emits, and asks the server to shut down', () => {
    marbles(({ cold, hot, expectObservable, expectSubscriptions, flush }) => {
      const clients = new MarbleClients();
      const values = clients.requests({ a: 'a1', b: 'b2', c: 'a3' });
      const source = hot('-a-b-c-', values);
      const signal$ = cold('----x', { x: 'stop' });
      expectObservable(source.pipe(untilShutdown(signal$, { graceMs: 500 }))).toBe('-a-b|', values);
      expectSubscriptions(source.subscriptions).toBe('^---!');
      expectSubscriptions(signal$.subscriptions).toBe('^---!');
      flush();
      expect(clients.shutdowns).toEqual([{ graceMs: 500 }]);
    });
  });

  it('goes on when the signal completes without a value', () => {
    marbles(({ cold, expectObservable }) => {
      const values = new MarbleClients().requests({ a: 'a1', b: 'b2' });
      expectObservable(cold('-a-b-|', values).pipe(untilShutdown(cold('--|')))).toBe('-a-b-|', values);
    });
  });

  it('passes errors of either on, and leaves both when it is left', () => {
    marbles(({ cold, expectObservable, expectSubscriptions }) => {
      const never = cold<IpcRequest>('-----');
      const signal$ = cold('-----');
      expectObservable(never.pipe(untilShutdown(cold('--#')))).toBe('--#');
      expectObservable(cold<IpcRequest>('-#').pipe(untilShutdown(signal$))).toBe('-#');
      expectObservable(never.pipe(untilShutdown(signal$)), '--!').toBe('---');
      expectSubscriptions(signal$.subscriptions).toBe(['^!', '^-!']);
      expectSubscriptions(never.subscriptions).toBe(['^-!', '^-!']);
    });
  });

  it('never subscribes to requests when the signal has emitted already', () => {
    marbles(({ cold, expectObservable, expectSubscriptions }) => {
      const source = cold<IpcRequest>('-a');
      expectObservable(source.pipe(untilShutdown(['now']))).toBe('|');
      expectSubscriptions(source.subscriptions).toBe([]);
    });
  });
});

it('untilShutdown keeps the type of its requests, and refuses bad arguments at once', () => {
  expectTypeOf(untilShutdown<IpcRequest>(NEVER)).toEqualTypeOf<MonoTypeOperatorFunction<IpcRequest>>();
  expect(() => untilShutdown(NEVER, { graceMs: -1 })).toThrow(RangeError);
  expect(() => untilShutdown(NEVER, { graceMs: '1' as never })).toThrow(
    new TypeError('Expected `graceMs` to be a number of milliseconds from 0 to 2147483647, got "1"'),
  );
  expect(() => untilShutdown(undefined as never)).toThrow(TypeError);
});

describe.each(transports)('untilShutdown over $name', ({ open }) => {
  it('lets what runs finish, refuses what comes later, and closes the server', async () => {
    await using scene = await open();
    const client = await scene.connect();
    const signal$ = new Subject<void>();
    const running = new Log<() => void>();
    const handler = (_clientId: number, request: Bytes): Promise<Bytes> =>
      new Promise((resolve) => running.add(() => resolve(request)));
    scene.server.requests$.pipe(untilShutdown(signal$), handle(handler)).subscribe(scene.server.responses);
    const reply = client.request(bytes('running'));
    await running.reaches(1);
    signal$.next();
    await expect(client.request(bytes('late'))).rejects.toMatchObject({ code: 'ERR_IPC_REFUSED' });
    running.entries[0]?.();
    expect(text(await reply)).toBe('running');
    await scene.server.closed;
    expect(running.entries).toHaveLength(1);
  });

  it('fails what runs longer than graceMs', async () => {
    await using scene = await open();
    const client = await scene.connect();
    const signal$ = new Subject<void>();
    const running = new Log<true>();
    const handler = (): Promise<Bytes> => {
      running.add(true);
      return new Promise(() => undefined);
    };
    scene.server.requests$
      .pipe(untilShutdown(signal$, { graceMs: 20 }), handle(handler))
      .subscribe(scene.server.responses);
    const reply = client.request(bytes('endless'));
    await running.reaches(1);
    signal$.next();
    await expect(reply).rejects.toMatchObject({ code: 'ERR_IPC_CLOSED' });
    await scene.server.closed;
  });

  it('shuts a server down that had no request yet', async () => {
    await using scene = await open();
    const signal$ = new Subject<void>();
    scene.server.requests$
      .pipe(
        untilShutdown(signal$),
        handle(() => undefined),
      )
      .subscribe(scene.server.responses);
    signal$.next();
    await scene.server.closed;
  });
});
