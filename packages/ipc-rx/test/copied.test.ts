import { type Bytes, type IpcRequest, SpanReleasedError } from '@spanwire/ipc-core';
import { copied, handle } from '@spanwire/ipc-rx';
import { map, of, type OperatorFunction } from 'rxjs';
import { describe, expect, expectTypeOf, it } from 'vitest';
import { Log } from './support/log.ts';
import { MarbleClients } from './support/marble-request.ts';
import { marbles } from './support/marbles.ts';
import { bytes, text } from './support/text.ts';
import { transports } from './support/transports.ts';

describe('copied, in marbles', () => {
  it('gives each request its own bytes, and releases the borrowed ones in the same frame', () => {
    marbles(({ cold, expectObservable }) => {
      const a = new MarbleClients().request('a1', bytes('hello'));
      const seen$ = cold('-a-|', { a }).pipe(
        copied(),
        map((copy) => [copy.clientId, copy.requestId, text(copy.span), a.released]),
      );
      expectObservable(seen$).toBe('-a-|', { a: [10, 1, 'hello', true] });
    });
  });

  it('passes errors on, and leaves the source when it is left', () => {
    marbles(({ cold, expectObservable, expectSubscriptions }) => {
      const source = cold<IpcRequest>('---#');
      expectObservable(source.pipe(copied())).toBe('---#');
      expectObservable(source.pipe(copied()), '-!').toBe('--');
      expectSubscriptions(source.subscriptions).toBe(['^--!', '^!']);
    });
  });

  it('lets go of the copy on release, after which the span throws', () => {
    const request = new MarbleClients().request('a1', bytes('hello'));
    let copy: IpcRequest | undefined;
    of(request)
      .pipe(copied())
      .subscribe((each) => (copy = each));
    copy?.release();
    expect(() => copy?.span).toThrow(SpanReleasedError);
  });
});

it('copied takes and gives requests', () => {
  expectTypeOf(copied()).toEqualTypeOf<OperatorFunction<IpcRequest, IpcRequest>>();
});

describe.each(transports)('copied over $name', ({ open }) => {
  it('lets more requests in than the window holds while their handlers are slow', async () => {
    await using scene = await open({ windowBytes: 8192 });
    const client = await scene.connect();
    const running = new Log<() => void>();
    const slowly = (_clientId: number, request: Bytes): Promise<Bytes> =>
      new Promise((resolve) => running.add(() => resolve(request)));
    scene.server.requests$.pipe(copied(), handle(slowly)).subscribe(scene.server.responses);
    const replies = Array.from({ length: 30 }, (_, i) => client.request(bytes(String(i).padEnd(1000))));
    // 30 of 1,000 bytes are more than three windows.
    await running.reaches(30);
    for (const answer of running.entries) answer();
    const answers = (await Promise.all(replies)).map((each) => Number(text(each)));
    expect(answers).toEqual(Array.from({ length: 30 }, (_, i) => i));
    expect(scene.server.stats.openRequests).toBe(0);
  });

  it('keeps what a request knows besides its bytes', async () => {
    await using scene = await open();
    const client = await scene.connect();
    const seen = new Log<unknown>();
    scene.server.requests$
      .pipe(
        copied(),
        handle((_clientId, request, info) => {
          seen.add([info.metadata?.get('who'), (info.deadlineMs ?? 0) > 0, info.signal.aborted, info.input$]);
          return request;
        }),
      )
      .subscribe(scene.server.responses);
    await client.request(bytes('?'), { metadata: new Map([['who', 'me']]), timeoutMs: 30_000 });
    expect(seen.entries).toEqual([['me', true, false, undefined]]);
  });
});
