import type { Bytes } from '@spanwire/ipc-core';
import { fromReadable, requestEach, serve } from '@spanwire/ipc-rx';
import { EMPTY, from, lastValueFrom, map, Observable, of, Subject, throwError, toArray } from 'rxjs';
import type { OperatorFunction } from 'rxjs';
import { Readable } from 'node:stream';
import { describe, expect, expectTypeOf, it } from 'vitest';
import { refuses } from './support/bad-arguments.ts';
import { Log } from './support/log.ts';
import { marbles } from './support/marbles.ts';
import { bytes, text } from './support/text.ts';
import { transports, type Scene } from './support/transports.ts';

/** A server whose handlers the test finishes one by one. */
function byHand(scene: Scene): Log<{ readonly question: string; readonly signal: AbortSignal; finish(): void }> {
  const running = new Log<{ question: string; signal: AbortSignal; finish(): void }>();
  serve(scene.server, (_clientId, request, { signal }) => {
    const question = text(request);
    return new Promise<Bytes>((resolve) =>
      running.add({ question, signal, finish: () => resolve(bytes(question.toUpperCase())) }),
    );
  });
  return running;
}

it('requestEach turns payloads into replies, and refuses bad arguments at once', () => {
  const client = undefined as never;
  expectTypeOf(requestEach(client)).toEqualTypeOf<OperatorFunction<Uint8Array, Bytes>>();
  refuses(() => requestEach(client, { concurrency: 0 }), RangeError);
  refuses(() => requestEach(client, { order: 'random' as never }));
  refuses(() => requestEach(client, { maxWaiting: -1 }), RangeError);
  refuses(() => requestEach(client, { each: 'retry' as never }));
});

describe('requestEach, in marbles', () => {
  // Replies come from `each`, so that they come in virtual time; a client's own replies are promises.
  const client = { request: () => new Promise(() => undefined) } as never;

  it('has at most `concurrency` on their way', () => {
    marbles(({ cold, expectObservable, expectSubscriptions }) => {
      const reply = cold('----(r|)', { r: bytes('reply') });
      const payloads = cold('-(abc)|', { a: bytes('a'), b: bytes('b'), c: bytes('c') });
      const replies$ = payloads.pipe(requestEach(client, { concurrency: 2, each: () => reply }));
      expectObservable(replies$).toBe('-----(rr)(r|)', { r: bytes('reply') });
      expectSubscriptions(reply.subscriptions).toBe(['-^---!', '-^---!', '-----^---!']);
    });
  });

  it('errors with the first failure, leaves the rest, and leaves everything when it is left', () => {
    marbles(({ cold, expectObservable, expectSubscriptions }) => {
      const failing = cold<Bytes>('--#');
      const payloads = cold('-a-----', { a: bytes('a') });
      expectObservable(payloads.pipe(requestEach(client, { each: () => failing }))).toBe('---#');
      const endless = cold<Bytes>('-----');
      expectObservable(payloads.pipe(requestEach(client, { each: () => endless })), '---!').toBe('----');
      expectSubscriptions(payloads.subscriptions).toBe(['^--!', '^--!']);
      expectSubscriptions(endless.subscriptions).toBe('-^-!');
    });
  });

  it('completes at once when there is nothing to send, and passes an error of the source on', () => {
    marbles(({ expectObservable }) => {
      expectObservable(EMPTY.pipe(requestEach(client))).toBe('|');
      expectObservable(throwError(() => 'error').pipe(requestEach(client))).toBe('#');
    });
  });
});

describe.each(transports)('requestEach over $name', ({ open }) => {
  it('pipelines within its window, and replies in the order of payloads', async () => {
    await using scene = await open();
    const client = await scene.connect();
    const running = byHand(scene);
    const replies = lastValueFrom(
      from(['a', 'b', 'c', 'd']).pipe(map(bytes), requestEach(client, { concurrency: 2 }), map(text), toArray()),
    );
    await running.reaches(2);
    expect(running.entries.map(({ question }) => question)).toEqual(['a', 'b']);
    // The second is answered first; its reply waits, and so does its place.
    running.entries[1]?.finish();
    running.entries[0]?.finish();
    await running.reaches(4);
    running.entries[3]?.finish();
    running.entries[2]?.finish();
    expect(await replies).toEqual(['A', 'B', 'C', 'D']);
  });

  it('replies as they come when told so', async () => {
    await using scene = await open();
    const client = await scene.connect();
    const running = byHand(scene);
    const seen = new Log<string>();
    from(['a', 'b'])
      .pipe(map(bytes), requestEach(client, { order: 'completion' }), map(text))
      .subscribe((reply) => seen.add(reply));
    await running.reaches(2);
    running.entries[1]?.finish();
    await seen.reaches(1);
    running.entries[0]?.finish();
    await seen.reaches(2);
    expect(seen.entries).toEqual(['B', 'A']);
  });

  it('cancels on the server what is on its way when it is left', async () => {
    await using scene = await open();
    const client = await scene.connect();
    const running = byHand(scene);
    const subscription = from(['a', 'b', 'c'])
      .pipe(map(bytes), requestEach(client, { concurrency: 2 }))
      .subscribe();
    await running.reaches(2);
    const aborted = new Log<true>();
    for (const { signal } of running.entries) signal.addEventListener('abort', () => aborted.add(true));
    subscription.unsubscribe();
    await aborted.reaches(2);
    expect(running.entries).toHaveLength(2);
  });

  it('pulls a source that can be iterated no further than its window', async () => {
    await using scene = await open();
    const client = await scene.connect();
    const running = byHand(scene);
    let given = 0;
    const readable = Readable.from(
      (function* () {
        for (; given < 1000; given++) yield bytes(String(given));
      })(),
      { objectMode: true, highWaterMark: 1 },
    );
    const subscription = fromReadable(readable)
      .pipe(requestEach(client, { concurrency: 4 }))
      .subscribe();
    await running.reaches(4);
    for (let i = 0; i < 20; i++) {
      running.entries[i]?.finish();
      await running.reaches(i + 5);
    }
    // 24 are with the server; the stream itself reads a few ahead.
    expect(given).toBeLessThanOrEqual(28);
    subscription.unsubscribe();
    expect(readable.destroyed).toBe(true);
  });

  it('errors when more payloads wait than it may keep', async () => {
    await using scene = await open();
    const client = await scene.connect();
    byHand(scene);
    const payloads$ = new Subject<Uint8Array>();
    const failed = new Log<unknown>();
    payloads$
      .pipe(requestEach(client, { concurrency: 1, maxWaiting: 1 }))
      .subscribe({ error: (error: unknown) => failed.add(error) });
    for (const each of ['running', 'waiting']) payloads$.next(bytes(each));
    expect(failed.entries).toEqual([]);
    payloads$.next(bytes('too many'));
    expect(failed.entries).toMatchObject([{ code: 'ERR_IPC_OVERLOADED' }]);
    expect(payloads$.observed).toBe(false);
  });

  it('sends what waited as it was when it came', async () => {
    await using scene = await open();
    const client = await scene.connect();
    serve(scene.server, (_clientId, request) => request);
    const reused = new Uint8Array(1);
    const payloads$ = new Observable<Uint8Array>((subscriber) => {
      for (let i = 0; i < 10; i++) {
        reused[0] = i;
        subscriber.next(reused);
      }
      subscriber.complete();
    });
    const replies = await lastValueFrom(payloads$.pipe(requestEach(client, { concurrency: 2 }), toArray()));
    expect(replies.map((reply) => reply[0])).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
  });

  it('errors with the failure of one request', async () => {
    await using scene = await open();
    const client = await scene.connect();
    serve(scene.server, (_clientId, request) => {
      if (text(request) === 'bad') throw new Error('as asked');
      return request;
    });
    const replies$ = of('good', 'bad', 'good').pipe(map(bytes), requestEach(client, { concurrency: 1 }), toArray());
    await expect(lastValueFrom(replies$)).rejects.toMatchObject({ code: 'ERR_IPC_REMOTE', message: 'as asked' });
  });
});
