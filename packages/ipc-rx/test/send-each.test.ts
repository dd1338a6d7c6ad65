import { fromReadable, sendEach } from '@spanwire/ipc-rx';
import { EMPTY, from, lastValueFrom, map, Subject, throwError, type OperatorFunction } from 'rxjs';
import { Readable } from 'node:stream';
import { describe, expect, expectTypeOf, it } from 'vitest';
import { refuses } from './support/bad-arguments.ts';
import { Log } from './support/log.ts';
import { marbles } from './support/marbles.ts';
import { bytes, text } from './support/text.ts';
import { transports } from './support/transports.ts';

it('sendEach gives nothing but its end, and refuses bad arguments at once', () => {
  expectTypeOf(sendEach(undefined as never)).toEqualTypeOf<OperatorFunction<Uint8Array, never>>();
  refuses(() => sendEach(undefined as never, { maxWaiting: 1.5 }), RangeError);
});

describe('sendEach, in marbles', () => {
  it('sends at once what there is room for, and completes with the source', () => {
    marbles(({ cold, expectObservable, expectSubscriptions, flush }) => {
      const sent: string[] = [];
      const roomy = { trySend: (data: Uint8Array) => sent.push(text(data)) > 0 } as never;
      const source = cold('-a-b-|', { a: bytes('a'), b: bytes('b') });
      expectObservable(source.pipe(sendEach(roomy))).toBe('-----|');
      expectObservable(source.pipe(sendEach(roomy)), '--!').toBe('---');
      expectSubscriptions(source.subscriptions).toBe(['^----!', '^-!']);
      flush();
      expect(sent).toEqual(['a', 'a', 'b']);
    });
  });

  it('passes errors on, those of the source and those of sending', () => {
    marbles(({ cold, expectObservable }) => {
      const broken = {
        trySend: (): never => {
          throw 'error';
        },
      } as never;
      expectObservable(cold('-a', { a: bytes('a') }).pipe(sendEach(broken))).toBe('-#');
      expectObservable(throwError(() => 'error').pipe(sendEach(broken))).toBe('#');
      expectObservable(EMPTY.pipe(sendEach(broken))).toBe('|');
    });
  });
});

describe.each(transports)('sendEach over $name', ({ open }) => {
  it('delivers everything in order, and completes when all is accepted', async () => {
    await using scene = await open({ windowBytes: 8192 });
    const client = await scene.connect();
    const received = new Log<string>();
    scene.server.messages$.subscribe(({ data }) => received.add(text(data).trim()));
    const numbers = Array.from({ length: 200 }, (_, i) => String(i));
    await lastValueFrom(
      from(numbers).pipe(
        map((each) => bytes(each.padEnd(1000))),
        sendEach(client),
      ),
      {
        defaultValue: undefined,
      },
    );
    await received.reaches(200);
    expect(received.entries).toEqual(numbers);
  });

  it('reads a source that can be iterated only as the server takes it', async () => {
    await using scene = await open({ windowBytes: 8192 });
    const client = await scene.connect();
    let given = 0;
    const stalled = new Log<number>();
    const readable = Readable.from(
      (function* () {
        for (; given < 1000; given++) {
          yield new Uint8Array(1000);
          stalled.add(given);
        }
      })(),
      { objectMode: true, highWaterMark: 1 },
    );
    // Nobody reads on the server: its window takes 8 messages, and the stream reads a few ahead.
    const end = lastValueFrom(fromReadable(readable).pipe(sendEach(client)), { defaultValue: 'sent' });
    await stalled.reaches(8);
    await scene.connect();
    expect(given).toBeLessThan(14);
    const received = new Log<number>();
    scene.server.messages$.subscribe(({ data }) => received.add(data.length));
    expect(await end).toBe('sent');
    await received.reaches(1000);
  });

  it('errors when more payloads wait than it may keep', async () => {
    await using scene = await open({ windowBytes: 8192 });
    // What waits when it is closed is not worth waiting for.
    const client = await scene.connect({ graceMs: 0 });
    const payloads$ = new Subject<Uint8Array>();
    const failed = new Log<unknown>();
    payloads$.pipe(sendEach(client, { maxWaiting: 2 })).subscribe({ error: (error: unknown) => failed.add(error) });
    // 7 of 1,008 bytes fill the window, one is being sent, two wait.
    for (let i = 0; i < 30; i++) payloads$.next(new Uint8Array(1000));
    expect(failed.entries).toMatchObject([{ code: 'ERR_IPC_OVERLOADED' }]);
    expect(payloads$.observed).toBe(false);
  });
});
