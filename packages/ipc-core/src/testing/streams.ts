/** Streams of items that answer a request: order, ends and errors. */
import { concat, from, interval, map, NEVER, Observable, of, range, Subject, take } from 'rxjs';
import { expect, test } from 'vitest';
import type { Bytes, HandlerOutput } from '../contract.ts';
import { RemoteError } from '../errors.ts';
import { eventually, expectCode, failureOf, stopTime } from './eventually.ts';
import { withClient } from './fixture.ts';
import { bytesOf, pattern, readU32, sameBytes, textOf, u32 } from './payloads.ts';
import { itemsOf, PulledItems } from './sources.ts';
import type { TransportUnderTest } from './transport-under-test.ts';

export function describeStreams(transport: TransportUnderTest): void {
  test('the items of an Observable arrive in order, and then its end', async () => {
    const { client } = await withClient(transport, (_id, request) => range(0, readU32(request)).pipe(map(u32)));
    for (const count of [1, 3, 1000]) {
      expect((await itemsOf(client.request$(u32(count)))).map((item) => readU32(item))).toEqual([
        ...Array(count).keys(),
      ]);
    }
  });

  test('the items of an AsyncIterable arrive in order, and then its end', async () => {
    const { client } = await withClient(transport, async function* (_id, request) {
      const count = readU32(request);
      for (let i = 0; i < count; i++) yield u32(i);
    });
    expect((await itemsOf(client.request$(u32(3000)))).map((item) => readU32(item))).toEqual([...Array(3000).keys()]);
  });

  test('a promise of a stream is a stream', async () => {
    const { client } = await withClient(transport, async () => of(bytesOf('a'), bytesOf('b')));
    expect((await itemsOf(client.request$(u32(0)))).map((item) => textOf(item))).toEqual(['a', 'b']);
  });

  test('an empty stream completes, and zero-length items are delivered', async () => {
    const { client } = await withClient(transport, (_id, request) =>
      from(Array.from({ length: readU32(request) }, () => new Uint8Array(0))),
    );
    expect(await itemsOf(client.request$(u32(0)))).toEqual([]);
    expect((await itemsOf(client.request$(u32(1000)))).map((item) => item.byteLength)).toEqual(Array(1000).fill(0));
  });

  test('request$ that is answered with bytes yields one item', async () => {
    const { client } = await withClient(transport, (_id, request) => request);
    expect((await itemsOf(client.request$(bytesOf('one')))).map((item) => textOf(item))).toEqual(['one']);
  });

  test('request and exchange that are answered with items reject with ERR_IPC_UNSUPPORTED', async () => {
    const { client, server } = await withClient(transport, () => of(bytesOf('item')));
    await Promise.all(
      [client.request(u32(0)), client.exchange(u32(0))].map((call) => expectCode(call, 'ERR_IPC_UNSUPPORTED')),
    );
    expect(server.stats.openRequests).toBe(0);
  });

  test('request$ is cold: each subscription is a request', async () => {
    const { client, server } = await withClient(transport, (_id, request) => of(request.slice()));
    const items$ = client.request$(bytesOf('cold'));
    await client.request$(bytesOf('other')).forEach(() => undefined);
    expect(server.stats.requests).toBe(1);
    await itemsOf(items$);
    await itemsOf(items$);
    expect(server.stats.requests).toBe(3);
  });

  test('an error of the source comes after the items before it', async () => {
    const sources: Record<string, () => HandlerOutput> = {
      observable: () => concat(of(u32(1), u32(2)), new Observable<Uint8Array>((s) => s.error(new RangeError('third')))),
      async *iterable() {
        yield u32(1);
        yield u32(2);
        throw new RangeError('third');
      },
    };
    const { client } = await withClient(transport, (_id, request) => sources[textOf(request)]!());
    for (const name of Object.keys(sources)) {
      const items: number[] = [];
      const error = await failureOf(client.request$(bytesOf(name)).forEach((item) => items.push(readU32(item))));
      expect({ name, items }).toEqual({ name, items: [1, 2] });
      expect(error).toBeInstanceOf(RemoteError);
      expect(error).toMatchObject({ remote: { name: 'RangeError', message: 'third' } });
    }
  });

  test('a handler that throws before its stream, an iterable that cannot be iterated, an item that is no bytes', async () => {
    const sources: Record<string, () => unknown> = {
      thrown: () => {
        throw new Error('at once');
      },
      iterator: () => ({
        [Symbol.asyncIterator]: () => {
          throw new Error('no iterator');
        },
      }),
      next: () => ({
        [Symbol.asyncIterator]: () => ({
          next() {
            throw new Error('no next');
          },
        }),
      }),
      subscribe: () =>
        new Observable(() => {
          throw new Error('no subscription');
        }),
      text: () => of('text'),
      async *iteratedText() {
        yield 'text';
      },
    };
    const { client, server } = await withClient(transport, (_id, request) => sources[textOf(request)]!() as Bytes);
    for (const name of Object.keys(sources)) {
      const error = await failureOf(itemsOf(client.request$(bytesOf(name))));
      expect({ name, remote: error instanceof RemoteError }).toEqual({ name, remote: true });
    }
    expect(server.stats.openRequests).toBe(0);
  });

  test('unsubscribing unsubscribes the source of the handler, and aborts the signal', async () => {
    let unsubscribed = 0;
    const signals: AbortSignal[] = [];
    const { client, server } = await withClient(transport, (_id, _request, info) => {
      signals.push(info.signal);
      return new Observable<Uint8Array>((subscriber) => {
        subscriber.next(bytesOf('first'));
        return () => unsubscribed++;
      });
    });
    expect((await itemsOf(client.request$(u32(0)).pipe(take(1)))).map((item) => textOf(item))).toEqual(['first']);
    await eventually('the source is unsubscribed', () => unsubscribed === 1);
    expect(signals[0]?.aborted).toBe(true);
    expect(signals[0]?.reason).toMatchObject({ code: 'ERR_IPC_CANCELLED' });
    await eventually('nothing is open', () => server.stats.openRequests === 0 && client.stats.pending === 0);
  });

  test('unsubscribing calls return() of the iterator, and ends a generator in its finally', async () => {
    const items = new PulledItems(Number.MAX_SAFE_INTEGER, () => new Uint8Array(100));
    let finished = 0;
    const { client, server } = await withClient(transport, (_id, request) =>
      textOf(request) === 'generator'
        ? (async function* () {
            try {
              for (;;) yield new Uint8Array(100);
            } finally {
              finished++;
            }
          })()
        : items,
    );
    await itemsOf(client.request$(bytesOf('iterator')).pipe(take(50)));
    await eventually('return() is called', () => items.returned === 1);
    await itemsOf(client.request$(bytesOf('generator')).pipe(take(50)));
    await eventually('the generator ends', () => finished === 1);
    await eventually('nothing is open', () => server.stats.openRequests === 0);
  });

  test('a stream whose client leaves is unsubscribed', async () => {
    let unsubscribed = 0;
    const { client, server } = await withClient(
      transport,
      () =>
        new Observable<Uint8Array>((subscriber) => {
          subscriber.next(bytesOf('first'));
          return () => unsubscribed++;
        }),
    );
    const items: string[] = [];
    const failure = failureOf(client.request$(u32(0)).forEach((item) => items.push(textOf(item))));
    await eventually('the first item', () => items.length === 1);
    await client.close();
    expect(await failure).toMatchObject({ code: 'ERR_IPC_CLOSED' });
    await eventually('the source is unsubscribed', () => unsubscribed === 1);
    expect(server.stats.openRequests).toBe(0);
  });

  test('a stream longer than its timeoutMs errors with ERR_IPC_TIMEOUT and is cancelled', async () => {
    let subscribed = 0;
    let unsubscribed = 0;
    const { client } = await withClient(
      transport,
      () =>
        new Observable<Uint8Array>(() => {
          subscribed++;
          return () => unsubscribed++;
        }),
    );
    const { passTime } = stopTime();
    const failure = failureOf(itemsOf(client.request$(u32(0), { timeoutMs: 20 })));
    await eventually('the source is subscribed', () => subscribed === 1);
    passTime(20);
    expect(await failure).toMatchObject({ code: 'ERR_IPC_TIMEOUT' });
    await eventually('the source is unsubscribed', () => unsubscribed === 1);
  });

  test('an aborted signal errors request$ with its reason', async () => {
    const { client, server } = await withClient(transport, () => NEVER);
    const reason = new Error('enough');
    expect(await failureOf(itemsOf(client.request$(u32(0), { signal: AbortSignal.abort(reason) })))).toBe(reason);
    const controller = new AbortController();
    const failure = failureOf(itemsOf(client.request$(u32(0), { signal: controller.signal })));
    await eventually('it is open', () => server.stats.openRequests === 1);
    controller.abort(reason);
    expect(await failure).toBe(reason);
    await eventually('nothing is open', () => server.stats.openRequests === 0);
  });

  test('close() of the server errors its streams with ERR_IPC_CLOSED', async () => {
    const { client, server } = await withClient(transport, () => concat(of(bytesOf('first')), NEVER));
    const items: string[] = [];
    const failure = failureOf(client.request$(u32(0)).forEach((item) => items.push(textOf(item))));
    await eventually('the first item', () => items.length === 1);
    await server.close();
    expect(await failure).toMatchObject({ code: 'ERR_IPC_CLOSED' });
  });

  test('large and small items keep their order', async () => {
    const sizes = [10, 300_000, 0, 70_000, 1, 16_384, 16_385, 5];
    const { client } = await withClient(
      transport,
      () => from(sizes.map((size, i) => pattern(size, i))),
      {},
      { responseWindowBytes: 64 * 1024 },
    );
    const items = await itemsOf(client.request$(u32(0)));
    expect(items.map((item, i) => sameBytes(item, pattern(sizes[i]!, i)))).toEqual(sizes.map(() => true));
  });

  test('an item goes out at once, also when it needs fragments or finds no room', async () => {
    const source = new Subject<Uint8Array>();
    const { client } = await withClient(transport, () => source, {}, { responseWindowBytes: 8 * 1024 });
    const sizes: number[] = [];
    const subscription = client.request$(u32(0)).subscribe((item) => sizes.push(item.byteLength));
    await eventually('it is subscribed', () => source.observed);
    source.next(new Uint8Array(100_000));
    await eventually('the large item', () => sizes.length === 1);
    for (let i = 0; i < 20; i++) source.next(new Uint8Array(2000));
    await eventually('all items', () => sizes.length === 21);
    expect(sizes).toEqual([100_000, ...Array(20).fill(2000)]);
    subscription.unsubscribe();
  });

  test('an item over the maxMessageBytes of the client errors its stream, and nothing else', async () => {
    const { client } = await withClient(
      transport,
      (_id, request) => from([new Uint8Array(1024), new Uint8Array(readU32(request)), new Uint8Array(1)]),
      {},
      { maxMessageBytes: 1024 },
    );
    const sizes: number[] = [];
    const failure = failureOf(client.request$(u32(1025)).forEach((item) => sizes.push(item.byteLength)));
    expect(await failure).toMatchObject({ code: 'ERR_IPC_MESSAGE_TOO_LARGE' });
    expect(sizes).toEqual([1024]);
    expect((await itemsOf(client.request$(u32(1024)))).map((item) => item.byteLength)).toEqual([1024, 1024, 1]);
  });

  test('a hundred streams at once each get their own items', async () => {
    const { client } = await withClient(transport, (_id, request) => {
      const first = readU32(request);
      return interval(0).pipe(
        take(20),
        map((i) => u32(first + i)),
      );
    });
    const streams = await Promise.all(
      Array.from({ length: 100 }, async (_, i) =>
        (await itemsOf(client.request$(u32(i * 1000)))).map((item) => readU32(item) - i * 1000),
      ),
    );
    for (const items of streams) expect(items).toEqual([...Array(20).keys()]);
  });

  test('a stream of many windows passes, in both forms of a source', async () => {
    const { client } = await withClient(
      transport,
      async function* () {
        for (let i = 0; i < 640; i++) yield pattern(4096, i);
      },
      {},
      { streamWindowBytes: 16 * 1024, responseWindowBytes: 16 * 1024 },
    );
    let count = 0;
    await client.request$(u32(0)).forEach((item) => {
      expect(sameBytes(item, pattern(4096, count++))).toBe(true);
    });
    expect(count).toBe(640);
  });
}
