import type { Bytes, IpcRequest } from '@spanwire/ipc-core';
import { handle, limitInFlight } from '@spanwire/ipc-rx';
import { of, tap, type MonoTypeOperatorFunction } from 'rxjs';
import { describe, expect, expectTypeOf, it } from 'vitest';
import { refuses } from './support/bad-arguments.ts';
import { Log } from './support/log.ts';
import { MarbleClients } from './support/marble-request.ts';
import { marbles } from './support/marbles.ts';
import { bytes, text } from './support/text.ts';
import { transports } from './support/transports.ts';

describe('limitInFlight, in marbles', () => {
  it('lets requests of a client wait for the answers before them, and others pass', () => {
    marbles(({ cold, hot, expectObservable }) => {
      const values = new MarbleClients().requests({ a: 'a1', b: 'a2', c: 'a3', x: 'b4' });
      hot('------1--2', { 1: values.a, 2: values.b }).subscribe((request) => request.answer({}));
      expectObservable(cold('-abcx---|', values).pipe(limitInFlight(1))).toBe('-a--x-b--(c|)', values);
    });
  });

  it('counts all clients together when told so', () => {
    marbles(({ cold, hot, expectObservable }) => {
      const values = new MarbleClients().requests({ a: 'a1', b: 'b2', c: 'c3' });
      hot('------1', { 1: values.b }).subscribe((request) => request.answer({}));
      expectObservable(cold('-abc----', values).pipe(limitInFlight(2, { per: 'server' }))).toBe('-ab---c', values);
    });
  });

  it('never starts what was cancelled while it waited, and releases it', () => {
    marbles(({ cold, hot, expectObservable, flush }) => {
      const values = new MarbleClients().requests({ a: 'a1', b: 'a2', c: 'a3' });
      hot('----x').subscribe(() => (values.b.ended = true));
      hot('------1', { 1: values.a }).subscribe((request) => request.answer({}));
      expectObservable(cold('-abc|', values).pipe(limitInFlight(1))).toBe('-a----(c|)', values);
      flush();
      expect(values.b.released).toBe(true);
    });
  });

  it('forgets a client that leaves, and completes without what waited of it', () => {
    marbles(({ cold, hot, expectObservable }) => {
      const clients = new MarbleClients();
      const values = clients.requests({ a: 'a1', b: 'a2' });
      hot('-----x').subscribe(() => clients.signalOf(10).abort());
      expectObservable(cold('-ab|', values).pipe(limitInFlight(1))).toBe('-a---|', values);
    });
  });

  it('refuses what waits when it is left, and when the source fails', () => {
    marbles(({ cold, hot, expectObservable, expectSubscriptions, flush }) => {
      const left = new MarbleClients().requests({ a: 'a1', b: 'a2' });
      const failed = new MarbleClients().requests({ a: 'a1', b: 'a2' });
      const source = hot('-ab--', left);
      expectObservable(source.pipe(limitInFlight(1)), '---!').toBe('-a--', left);
      expectSubscriptions(source.subscriptions).toBe('^--!');
      expectObservable(cold('-ab#', failed).pipe(limitInFlight(1))).toBe('-a-#', failed);
      flush();
      for (const { a, b } of [left, failed]) {
        expect(b.failure?.code).toBe('ERR_IPC_REFUSED');
        expect(b.released).toBe(true);
        expect(a.failure).toBeUndefined();
      }
    });
  });

  it('passes thousands that waited in one go when each is answered at once', () => {
    const clients = new MarbleClients();
    const first = clients.request('a0');
    const rest = Array.from({ length: 20_000 }, (_, i) => clients.request(`a${i + 1}`));
    let passed = 0;
    of(first, ...rest)
      .pipe(limitInFlight(1))
      .subscribe((request) => {
        passed++;
        if (request !== first) request.answer({});
      });
    expect(passed).toBe(1);
    first.answer({});
    expect(passed).toBe(20_001);
  });
});

it('limitInFlight keeps the type of its requests, and refuses bad arguments at once', () => {
  expectTypeOf(limitInFlight<IpcRequest>(1)).toEqualTypeOf<MonoTypeOperatorFunction<IpcRequest>>();
  refuses(() => limitInFlight(0), RangeError);
  refuses(() => limitInFlight(1.5), RangeError);
  refuses(() => limitInFlight('1' as never));
  refuses(() => limitInFlight(1, { per: 'moon' as never }));
});

it('limitInFlight refuses copies of requests that only have their ids', () => {
  const seen: unknown[] = [];
  of({ clientId: 1, requestId: 1 } as IpcRequest)
    .pipe(limitInFlight(1))
    .subscribe({ error: (error: unknown) => seen.push(error) });
  expect(seen[0]).toBeInstanceOf(TypeError);
});

describe.each(transports)('limitInFlight over $name', ({ open }) => {
  it('runs as many handlers per client as it says, and loses nothing', async () => {
    await using scene = await open();
    const clients = [await scene.connect(), await scene.connect()];
    const running = new Map<number, number>();
    const most = new Map<number, number>();
    const finish = new Log<() => void>();
    const handler = (clientId: number, request: Bytes): Promise<Bytes> => {
      const now = (running.get(clientId) ?? 0) + 1;
      running.set(clientId, now);
      most.set(clientId, Math.max(now, most.get(clientId) ?? 0));
      return new Promise((resolve) =>
        finish.add(() => {
          running.set(clientId, (running.get(clientId) ?? 0) - 1);
          resolve(request);
        }),
      );
    };
    scene.server.requests$.pipe(limitInFlight(3), handle(handler)).subscribe(scene.server.responses);
    const replies = clients.flatMap((client) => Array.from({ length: 10 }, (_, i) => client.request(bytes(String(i)))));
    for (let i = 0; i < replies.length; i++) {
      await finish.reaches(i + 1);
      finish.entries[i]?.();
    }
    expect((await Promise.all(replies)).map(text)).toEqual(replies.map((_, i) => String(i % 10)));
    expect([...most.values()]).toEqual([3, 3]);
  });

  it('frees the places of a client that leaves', async () => {
    await using scene = await open();
    const [first, second] = [await scene.connect(), await scene.connect()];
    const started = new Log<string>();
    scene.server.requests$
      .pipe(
        limitInFlight(1, { per: 'server' }),
        handle((_clientId, request) => {
          started.add(text(request));
          return text(request) === 'endless' ? new Promise(() => undefined) : request;
        }),
      )
      .subscribe(scene.server.responses);
    const endless = first.request(bytes('endless')).catch((error: unknown) => error);
    await started.reaches(1);
    const reply = second.request(bytes('next'));
    await first.close();
    expect(text(await reply)).toBe('next');
    expect(await endless).toMatchObject({ code: 'ERR_IPC_CLOSED' });
  });

  it('keeps a place for a cancelled request until its handler is done', async () => {
    await using scene = await open();
    const client = await scene.connect();
    const started = new Log<string>();
    const arrived = new Log<IpcRequest>();
    const aborted = new Log<true>();
    let finish: (() => void) | undefined;
    scene.server.requests$
      .pipe(
        tap((request) => arrived.add(request)),
        limitInFlight(1),
        handle((_clientId, request, { signal }) => {
          started.add(text(request));
          if (text(request) !== 'first') return request;
          signal.addEventListener('abort', () => aborted.add(true));
          return new Promise((resolve) => (finish = () => resolve(request)));
        }),
      )
      .subscribe(scene.server.responses);
    const cancel = new AbortController();
    const first = client.request(bytes('first'), { signal: cancel.signal }).catch((error: unknown) => error);
    await started.reaches(1);
    const second = client.request(bytes('second'));
    await arrived.reaches(2);
    cancel.abort(new Error('changed my mind'));
    expect(await first).toMatchObject({ message: 'changed my mind' });
    await aborted.reaches(1);
    expect(started.entries).toEqual(['first']);
    finish?.();
    expect(text(await second)).toBe('second');
  });
});
