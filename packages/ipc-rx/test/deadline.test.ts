import type { Bytes, IpcRequest } from '@spanwire/ipc-core';
import { deadline, handle } from '@spanwire/ipc-rx';
import { NEVER, Subject, type MonoTypeOperatorFunction } from 'rxjs';
import { describe, expect, expectTypeOf, it, vi } from 'vitest';
import { refuses } from './support/bad-arguments.ts';
import { Log } from './support/log.ts';
import { MarbleClients } from './support/marble-request.ts';
import { marbles } from './support/marbles.ts';
import { bytes, text } from './support/text.ts';
import { transports } from './support/transports.ts';

describe('deadline, in marbles and with a clock of its own', () => {
  it('passes requests, errors and completion on, and leaves the source when it is left', () => {
    marbles(({ cold, expectObservable, expectSubscriptions }) => {
      const values = new MarbleClients().requests({ a: 'a1', b: 'b2' });
      const source = cold('-a-b-#', values);
      expectObservable(source.pipe(deadline(1000))).toBe('-a-b-#', values);
      expectObservable(source.pipe(deadline(1000)), '--!').toBe('-a-', values);
      expectSubscriptions(source.subscriptions).toBe(['^----!', '^-!']);
    });
  });

  it('ends what is not answered in time, in the order in which it came, and nothing else', () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] });
    try {
      const clients = new MarbleClients();
      const [slow, quick, later] = [clients.request('a1'), clients.request('a2'), clients.request('b3')];
      const requests$ = new Subject<IpcRequest>();
      requests$.pipe(deadline(100)).subscribe();
      requests$.next(slow);
      requests$.next(quick);
      vi.advanceTimersByTime(60);
      requests$.next(later);
      quick.answer({});
      vi.advanceTimersByTime(60);
      expect([slow, quick, later].map((each) => each.failure?.code)).toEqual(['ERR_IPC_TIMEOUT', undefined, undefined]);
      expect(slow.signal.aborted).toBe(true);
      vi.advanceTimersByTime(60);
      expect(later.failure?.code).toBe('ERR_IPC_TIMEOUT');
    } finally {
      vi.useRealTimers();
    }
  });
});

it('deadline keeps the type of its requests, and refuses bad arguments at once', () => {
  expectTypeOf(deadline<IpcRequest>(1)).toEqualTypeOf<MonoTypeOperatorFunction<IpcRequest>>();
  refuses(() => deadline(0), RangeError);
  refuses(() => deadline(2 ** 31), RangeError);
  refuses(() => deadline('1s' as never));
});

describe.each(transports)('deadline over $name', ({ open }) => {
  it('fails the call, aborts the handler, and drops what it answers later', async () => {
    await using scene = await open();
    const client = await scene.connect();
    const running = new Log<() => void>();
    const aborted = new Log<unknown>();
    const handler = (_clientId: number, request: Bytes, { signal }: IpcRequest): Bytes | Promise<Bytes> => {
      if (text(request) === 'quick') return request;
      signal.addEventListener('abort', () => aborted.add(signal.reason));
      return new Promise((resolve) => running.add(() => resolve(request)));
    };
    scene.server.requests$.pipe(deadline(30), handle(handler)).subscribe(scene.server.responses);
    const slow = client.request(bytes('slow'));
    // It may fail before the quick one is answered.
    slow.catch(() => undefined);
    expect(text(await client.request(bytes('quick')))).toBe('quick');
    await expect(slow).rejects.toMatchObject({ code: 'ERR_IPC_TIMEOUT' });
    await aborted.reaches(1);
    expect(aborted.entries[0]).toMatchObject({ code: 'ERR_IPC_TIMEOUT' });
    running.entries[0]?.();
    expect(text(await client.request(bytes('quick')))).toBe('quick');
    expect(scene.server.stats).toMatchObject({ openRequests: 0, droppedAnswers: 1 });
  });

  it('counts a stream as answered once it has started', async () => {
    await using scene = await open();
    const client = await scene.connect();
    const failed = new Log<unknown>();
    scene.server.requests$
      .pipe(
        deadline(20),
        handle((_clientId, request) => (text(request) === 'stream' ? NEVER : new Promise(() => undefined))),
      )
      .subscribe(scene.server.responses);
    const stream = client.request$(bytes('stream')).subscribe({ error: (error: unknown) => failed.add(error) });
    // This one came later, so when it is over, the other's time is over, too.
    await expect(client.request(bytes('never'))).rejects.toMatchObject({ code: 'ERR_IPC_TIMEOUT' });
    expect(failed.entries).toEqual([]);
    stream.unsubscribe();
  });
});
