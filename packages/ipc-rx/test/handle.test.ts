import { type Bytes, type IpcRequest, type IpcResponse, RemoteError } from '@spanwire/ipc-core';
import { handle } from '@spanwire/ipc-rx';
import { finalize, from, interval, lastValueFrom, map, take, tap, toArray, type OperatorFunction } from 'rxjs';
import { describe, expect, expectTypeOf, it } from 'vitest';
import { Log } from './support/log.ts';
import { MarbleClients } from './support/marble-request.ts';
import { marbles } from './support/marbles.ts';
import { bytes, text } from './support/text.ts';
import { transports } from './support/transports.ts';

describe('handle, in marbles', () => {
  it('answers each request in its frame and completes with the source', () => {
    marbles(({ cold, expectObservable }) => {
      const { a, b, c } = new MarbleClients().requests({ a: 'a1', b: 'a2', c: 'b3' });
      const answers$ = cold('--a--(bc)-|', { a, b, c }).pipe(handle((clientId) => Uint8Array.of(clientId)));
      const answer = (request: IpcRequest): IpcResponse => ({
        clientId: request.clientId,
        requestId: request.requestId,
        data: Uint8Array.of(request.clientId),
      });
      expectObservable(answers$).toBe('--a--(bc)-|', { a: answer(a), b: answer(b), c: answer(c) });
    });
  });

  it('passes the error of the source on, and leaves the source when it is left', () => {
    marbles(({ hot, expectObservable, expectSubscriptions }) => {
      const source = hot<IpcRequest>('---#');
      expectObservable(source.pipe(handle(() => undefined))).toBe('---#');
      expectObservable(source.pipe(handle(() => undefined)), '--!').toBe('---');
      expectSubscriptions(source.subscriptions).toBe(['^--!', '^-!']);
    });
  });

  it('answers with an error what throws, and goes on', () => {
    marbles(({ cold, expectObservable }) => {
      const { a, b } = new MarbleClients().requests({ a: 'a1', b: 'a2' });
      const broken = new Error('broken');
      const answers$ = cold('-a-b-|', { a, b }).pipe(
        handle((_clientId, _span, info) => {
          if (info.requestId === 1) throw broken;
          return undefined;
        }),
      );
      expectObservable(answers$).toBe('-a-b-|', {
        a: { clientId: 10, requestId: 1, error: broken },
        b: { clientId: 10, requestId: 2 },
      });
    });
  });
});

describe('handle, by its types', () => {
  it('turns requests into answers', () => {
    expectTypeOf(handle(() => undefined)).toEqualTypeOf<OperatorFunction<IpcRequest, IpcResponse>>();
    // @ts-expect-error a handler returns bytes, not text
    handle(() => 'text');
  });

  it('throws at once on bad arguments', () => {
    expect(() => handle(() => undefined, { concurrency: 0 })).toThrow(RangeError);
    expect(() => handle('no' as never)).toThrow(TypeError);
  });
});

describe.each(transports)('handle over $name', ({ open }) => {
  it('answers bytes, promises of bytes and nothing', async () => {
    await using scene = await open();
    const client = await scene.connect();
    scene.server.requests$
      .pipe(
        handle((_clientId, request) => {
          const question = text(request);
          if (question === 'now') return bytes('at once');
          if (question === 'later') return Promise.resolve(bytes('in a while'));
          return undefined;
        }),
      )
      .subscribe(scene.server.responses);
    expect(text(await client.request(bytes('now')))).toBe('at once');
    expect(text(await client.request(bytes('later')))).toBe('in a while');
    await expect(client.request(bytes('never'))).rejects.toThrow(RemoteError);
  });

  it('answers Observables and AsyncIterables item by item', async () => {
    await using scene = await open();
    const client = await scene.connect();
    const parts = ['a', 'b', 'c'].map(bytes);
    scene.server.requests$
      .pipe(handle((_clientId, request) => (text(request) === 'observable' ? from(parts) : generate(parts))))
      .subscribe(scene.server.responses);
    for (const question of ['observable', 'iterable']) {
      const items = await lastValueFrom(client.request$(bytes(question)).pipe(map(text), toArray()));
      expect(items).toEqual(['a', 'b', 'c']);
    }
  });

  it('starts at most `concurrency` handlers, and the rest in order', async () => {
    await using scene = await open();
    const client = await scene.connect();
    const started = new Log<string>();
    const finish: Array<() => void> = [];
    const arrived = new Log<IpcRequest>();
    scene.server.requests$
      .pipe(
        tap((request) => arrived.add(request)),
        handle(
          (_clientId, request) => {
            started.add(text(request));
            return new Promise((resolve) => finish.push(() => resolve(request)));
          },
          { concurrency: 2 },
        ),
      )
      .subscribe(scene.server.responses);
    const replies = ['1', '2', '3', '4'].map((each) => client.request(bytes(each)));
    await arrived.reaches(4);
    expect(scene.server.stats.openRequests).toBe(4);
    expect(started.entries).toEqual(['1', '2']);
    for (const [i, reply] of replies.entries()) {
      finish[i]?.();
      expect(text(await reply)).toBe(String(i + 1));
      expect(started.entries).toHaveLength(Math.min(4, i + 3));
    }
    expect(started.entries).toEqual(['1', '2', '3', '4']);
  });

  it('never starts what waits when it is unsubscribed, and refuses it', async () => {
    await using scene = await open();
    const client = await scene.connect();
    const started = new Log<string>();
    let finish: (() => void) | undefined;
    const arrived = new Log<string>();
    const subscription = scene.server.requests$
      .pipe(
        tap((request) => arrived.add(text(request.span))),
        handle(
          (_clientId, request) => {
            started.add(text(request));
            return new Promise((resolve) => (finish = () => resolve(request)));
          },
          { concurrency: 1 },
        ),
      )
      .subscribe(scene.server.responses);
    const running = client.request(bytes('runs')).catch((error: unknown) => error);
    const waiting = client.request(bytes('waits'));
    waiting.catch(() => undefined);
    await arrived.reaches(2);
    subscription.unsubscribe();
    await expect(waiting).rejects.toMatchObject({ code: 'ERR_IPC_REFUSED' });
    finish?.();
    await client.close();
    await running;
    expect(started.entries).toEqual(['runs']);
  });

  it('answers in the order of requests when told so', async () => {
    await using scene = await open();
    const client = await scene.connect();
    const finish = new Log<() => void>();
    const answered = new Log<string>();
    const handler = (_clientId: number, request: Bytes): Promise<Bytes> =>
      new Promise((resolve) => finish.add(() => resolve(request)));
    scene.server.requests$.pipe(handle(handler, { order: 'request' })).subscribe(scene.server.responses);
    for (const each of ['1', '2', '3']) void client.request(bytes(each)).then((reply) => answered.add(text(reply)));
    await finish.reaches(3);
    for (const each of finish.entries.reverse()) each();
    await answered.reaches(3);
    expect(answered.entries).toEqual(['1', '2', '3']);
  });

  it('stops the stream of a handler when the client unsubscribes', async () => {
    await using scene = await open();
    const client = await scene.connect();
    const tornDown = new Log<true>();
    const ticks$ = interval(1).pipe(
      map((tick) => Uint8Array.of(tick & 255)),
      finalize(() => tornDown.add(true)),
    );
    scene.server.requests$.pipe(handle(() => ticks$)).subscribe(scene.server.responses);
    await lastValueFrom(client.request$(bytes('go')).pipe(take(3)));
    await tornDown.reaches(1);
  });
});

async function* generate(items: readonly Bytes[]): AsyncGenerator<Bytes> {
  yield* items;
}
