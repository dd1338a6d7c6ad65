/** Streams of items that answer a request: order, ends, errors, credit. */
import { concat, from, interval, lastValueFrom, map, NEVER, Observable, of, range, Subject, take, toArray } from 'rxjs';
import { expect, test } from 'vitest';
import type { Bytes, HandlerOutput } from '../contract.ts';
import { RemoteError } from '../errors.ts';
import { KIND_END, KIND_ITEM, KIND_REQUEST, KIND_STREAM_REQUEST } from '../frame.ts';
import { eventually, failureOf, turn } from './eventually.ts';
import { serveWith, withClient } from './fixture.ts';
import { bytesOf, pattern, readU32, sameBytes, textOf, u32 } from './payloads.ts';
import type { TransportUnderTest } from './transport-under-test.ts';

/** All items of a stream. */
function itemsOf(items$: Observable<Bytes>): Promise<Bytes[]> {
  return lastValueFrom(items$.pipe(toArray()));
}

/** A source that counts what is pulled, of `count` items. */
class PulledItems {
  pulled = 0;
  returned = 0;
  readonly #count: number;
  readonly #make: (index: number) => Uint8Array;

  constructor(count: number, make: (index: number) => Uint8Array) {
    this.#count = count;
    this.#make = make;
  }

  [Symbol.asyncIterator](): AsyncIterator<Uint8Array> {
    return {
      next: () => {
        if (this.pulled === this.#count) return Promise.resolve({ done: true, value: undefined });
        return Promise.resolve({ done: false, value: this.#make(this.pulled++) });
      },
      return: () => {
        this.returned++;
        return Promise.resolve({ done: true, value: undefined });
      },
    };
  }
}

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
    for (const call of [client.request(u32(0)), client.exchange(u32(0))]) {
      await expect(call).rejects.toMatchObject({ code: 'ERR_IPC_UNSUPPORTED' });
    }
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
    let unsubscribed = 0;
    const { client } = await withClient(transport, () => new Observable<Uint8Array>(() => () => unsubscribed++));
    expect(await failureOf(itemsOf(client.request$(u32(0), { timeoutMs: 20 })))).toMatchObject({
      code: 'ERR_IPC_TIMEOUT',
    });
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

  // ---- credit ----

  test('an AsyncIterable is pulled only as far as the client gives credit', async () => {
    const items = new PulledItems(100, (index) => new Uint8Array(1024).fill(index));
    const fixture = await serveWith(transport, (_id, request) => (textOf(request) === 'pulled' ? items : request));
    const raw = await fixture.raw({ streamWindowBytes: 4096 });
    await raw.send(KIND_STREAM_REQUEST, 7, bytesOf('pulled'));
    await eventually('the credit is used', () => raw.ofKind(KIND_ITEM, 7).length === 4);
    // A whole conversation of the same client later, nothing more was pulled.
    for (let i = 0; i < 10; i++) {
      await raw.send(KIND_REQUEST, 100 + i, bytesOf('other'));
      await raw.untilEnded(100 + i);
    }
    expect(raw.ofKind(KIND_ITEM, 7).length).toBe(4);
    expect(items.pulled).toBe(4);
    raw.credit(7, 1024);
    await eventually('one more', () => raw.ofKind(KIND_ITEM, 7).length === 5);
    raw.credit(7, 2 ** 31);
    await raw.untilEnded(7);
    expect(raw.ofKind(KIND_ITEM, 7).map(({ payload }) => payload[0])).toEqual([...Array(100).keys()]);
    expect(items.pulled).toBe(100);
  });

  test('a client that iterates a stream holds its source back, without holding anybody else', async () => {
    const items = new PulledItems(1000, (index) => new Uint8Array(1024).fill(index));
    const { client } = await withClient(
      transport,
      (_id, request) => (textOf(request) === 'pulled' ? items : request),
      {},
      { streamWindowBytes: 8 * 1024 },
    );
    let taken = 0;
    for await (const item of client.request$(bytesOf('pulled'))) {
      expect(item[0]).toBe(taken % 256);
      taken++;
      if (taken % 100 === 1) {
        for (let i = 0; i < 5; i++) expect(textOf(await client.request(bytesOf('beside')))).toBe('beside');
        expect(items.pulled).toBeLessThanOrEqual(taken + 9);
      }
    }
    expect(taken).toBe(1000);
  });

  test('a loop that is left early cancels its stream', async () => {
    const items = new PulledItems(1000, () => new Uint8Array(1024));
    const { client, server } = await withClient(transport, () => items, {}, { streamWindowBytes: 8 * 1024 });
    for await (const item of client.request$(u32(0))) {
      expect(item.byteLength).toBe(1024);
      break;
    }
    await eventually('return() is called', () => items.returned === 1);
    expect(items.pulled).toBeLessThanOrEqual(10);
    await eventually('nothing is open', () => server.stats.openRequests === 0);
  });

  test('a stream that is not taken does not hold another one of the same client', async () => {
    const fixture = await serveWith(
      transport,
      async function* () {
        for (let i = 0; i < 320; i++) yield new Uint8Array(1024);
      },
      { responseWindowBytes: 32 * 1024 },
    );
    const raw = await fixture.raw({ streamWindowBytes: 4096, responseWindowBytes: 32 * 1024 });
    await raw.send(KIND_STREAM_REQUEST, 1);
    await eventually('the first has used its credit', () => raw.ofKind(KIND_ITEM, 1).length === 4);
    await raw.send(KIND_STREAM_REQUEST, 2);
    // Ten windows of the second pass beside it.
    for (let given = 0; raw.ofKind(KIND_END, 2).length === 0;) {
      const count = raw.ofKind(KIND_ITEM, 2).length;
      if (count > given) raw.credit(2, 1024 * (count - given));
      given = count;
      await turn();
    }
    expect(raw.ofKind(KIND_ITEM, 2).length).toBe(320);
    expect(raw.ofKind(KIND_ITEM, 1).length).toBe(4);
  });

  test('one stream that stays open does not stop ten windows of other requests', async () => {
    const { client } = await withClient(
      transport,
      (_id, request) => (textOf(request.subarray(0, 4)) === 'open' ? concat(of(bytesOf('first')), NEVER) : request),
      { windowBytes: 32 * 1024 },
      { responseWindowBytes: 32 * 1024 },
    );
    const items: string[] = [];
    const payload = pattern(4096);
    const open = new Uint8Array(4096);
    open.set(bytesOf('open'));
    const subscription = client.request$(open).subscribe((item) => items.push(textOf(item)));
    for (let i = 0; i < 80; i++) expect(sameBytes(await client.request(payload), payload)).toBe(true);
    expect(items).toEqual(['first']);
    subscription.unsubscribe();
  });

  test('an Observable that is 1,024 items ahead of its consumer errors with ERR_IPC_OVERLOADED', async () => {
    const source = new Subject<Uint8Array>();
    const fixture = await serveWith(transport, () => source);
    const raw = await fixture.raw({ streamWindowBytes: 1024 });
    await raw.send(KIND_STREAM_REQUEST, 3);
    await eventually('it is subscribed', () => source.observed);
    source.next(new Uint8Array(1024));
    for (let i = 0; i < 1024; i++) source.next(u32(i));
    expect(source.observed).toBe(true);
    source.next(u32(1024));
    expect(source.observed).toBe(false);
    await raw.untilEnded(3);
    expect(raw.errorCode(3)).toBe('ERR_IPC_OVERLOADED');
  });

  for (const [overflow, kept] of [
    ['drop-oldest', [10, 1033]],
    ['drop-newest', [0, 1023]],
  ] as const) {
    test(`with overflow "${overflow}" it goes on with ${kept[0]} to ${kept[1]} of 1,034 items`, async () => {
      const source = new Subject<Uint8Array>();
      const fixture = await serveWith(transport, () => source, { overflow });
      const raw = await fixture.raw({ streamWindowBytes: 1024 });
      await raw.send(KIND_STREAM_REQUEST, 3);
      await eventually('it is subscribed', () => source.observed);
      source.next(new Uint8Array(1024));
      for (let i = 0; i < 1034; i++) source.next(u32(i));
      source.complete();
      raw.credit(3, 2 ** 20);
      await raw.untilEnded(3);
      const values = raw.ofKind(KIND_ITEM, 3).map(({ payload }) => readU32(payload));
      expect(values.slice(1)).toEqual(Array.from({ length: 1024 }, (_, i) => kept[0] + i));
    });
  }

  test('an Observable that emits for ever in its subscribe errors its stream, and the server lives', async () => {
    const { client } = await withClient(transport, (_id, request) =>
      textOf(request) === 'endless' ? range(0, Number.MAX_SAFE_INTEGER).pipe(map(u32)) : request,
    );
    expect(await failureOf(itemsOf(client.request$(bytesOf('endless'))))).toMatchObject({
      code: 'ERR_IPC_OVERLOADED',
    });
    expect(textOf(await client.request(bytesOf('alive')))).toBe('alive');
  });
}
