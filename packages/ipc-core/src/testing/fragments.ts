/** Large messages, in fragments. */
import { concat, from, lastValueFrom, map, of, toArray } from 'rxjs';
import { expect, test } from 'vitest';
import { FLAG_MORE, KIND_CREDIT, KIND_DUPLEX_REQUEST, KIND_ITEM, KIND_REQUEST } from '../frame.ts';
import { deferred, eventually, failureOf } from './eventually.ts';
import { echo, serve, serveWith, withClient } from './fixture.ts';
import { pattern, readU32, sameBytes, u32 } from './payloads.ts';
import type { TransportUnderTest } from './transport-under-test.ts';

const KiB = 1024;

export function describeFragments(transport: TransportUnderTest): void {
  test('messages of every size around the edges of fragments pass unchanged, with and without an extension', async () => {
    const windowBytes = 8 * KiB;
    const { client } = await withClient(
      transport,
      echo,
      { windowBytes, responseWindowBytes: windowBytes },
      { windowBytes, responseWindowBytes: windowBytes },
    );
    const quarter = windowBytes / 4;
    const sizes = [
      ...Array.from({ length: 24 }, (_, i) => i),
      ...[1, 2, 3, 4, 5].flatMap((n) => Array.from({ length: 33 }, (_, i) => n * quarter - 24 + i)),
    ];
    const metadata = new Map([['key', 'v'.repeat(700)]]);
    for (const size of sizes) {
      const payload = pattern(size, size);
      const [plain, extended] = await Promise.all([client.request(payload), client.request(payload, { metadata })]);
      expect({ size, same: sameBytes(plain, payload) && sameBytes(extended, payload) }).toEqual({ size, same: true });
    }
  });

  test('large messages of all kinds pass beside each other', async () => {
    const windowBytes = 32 * KiB;
    const size = 300_000;
    const messages: number[] = [];
    const fixture = await serveWith(
      transport,
      (_id, request, info) => {
        if (info.input$ !== undefined) return info.input$;
        return info.metadata === undefined ? request : of(request.slice(), request.slice());
      },
      { windowBytes },
    );
    fixture.server.messages$.subscribe(({ data }) => messages.push(readU32(data)));
    const client = await fixture.client({ responseWindowBytes: windowBytes });
    const numbered = (i: number): Uint8Array => {
      const payload = pattern(size, i);
      payload.set(u32(i));
      return payload;
    };
    const metadata = new Map([['stream', 'yes']]);
    const work: Array<Promise<boolean>> = [];
    for (let i = 0; i < 12; i++) {
      const payload = numbered(i);
      const same = (bytes: Uint8Array): boolean => sameBytes(bytes, payload);
      if (i % 4 === 0) work.push(client.request(payload).then(same));
      if (i % 4 === 1) work.push(client.send(payload).then(() => true));
      if (i % 4 === 2) {
        work.push(lastValueFrom(client.request$(payload, { metadata }).pipe(map(same), toArray())).then(both));
      }
      if (i % 4 === 3) {
        const input$ = concat(of(payload), of(payload));
        work.push(lastValueFrom(client.duplex$(u32(i), input$).pipe(map(same), toArray())).then(both));
      }
      work.push(client.request(u32(i)).then((answer) => readU32(answer) === i));
    }
    expect((await Promise.all(work)).filter((each) => !each)).toEqual([]);
    await eventually('the messages came', () => messages.length === 3);
    expect(messages).toEqual([1, 5, 9]);
  });

  test('control passes between the fragments of a large message', async () => {
    const fixture = await serve(transport, { windowBytes: 8 * KiB });
    let largeCame = false;
    const aborted: Array<{ value: number; largeCame: boolean }> = [];
    fixture.server.requests$.subscribe((request) => {
      if (request.span.byteLength > 4) {
        largeCame = true;
        request.respond(u32(0));
        return;
      }
      const value = readU32(request.span);
      request.signal.addEventListener('abort', () => {
        aborted.push({ value, largeCame });
        request.release();
      });
    });
    const client = await fixture.client();
    const controller = new AbortController();
    const failure = failureOf(client.request(u32(7), { signal: controller.signal }));
    await eventually('it runs', () => fixture.server.stats.openRequests === 1);
    const large = client.request(pattern(5_000_000));
    controller.abort();
    await failure;
    await eventually('the cancel acts', () => aborted.length === 1);
    expect(readU32(await large)).toBe(0);
    expect(aborted).toEqual([{ value: 7, largeCame: false }]);
    expect(largeCame).toBe(true);
  });

  test('large messages of many clients share maxReassemblyBytes, one after the other, and all arrive', async () => {
    const size = 400_000;
    const fixture = await serveWith(
      transport,
      async (_id, request) => {
        const first = readU32(request);
        await Promise.resolve();
        return u32(first);
      },
      { windowBytes: 64 * KiB, maxMessageBytes: size, maxReassemblyBytes: size },
    );
    const clients = await Promise.all(Array.from({ length: 16 }, () => fixture.client()));
    const answers = clients.flatMap((client, n) =>
      [0, 1].map((i) => {
        const payload = pattern(size, n);
        payload.set(u32(n * 2 + i));
        return client.request(payload);
      }),
    );
    expect((await Promise.all(answers)).map((answer) => readU32(answer))).toEqual([...Array(32).keys()]);
  });

  test('a client that leaves in the middle of a large message gives its share of maxReassemblyBytes back', async () => {
    const size = 100_000;
    const fixture = await serveWith(transport, (_id, request) => request.slice(0, 4), {
      windowBytes: 16 * KiB,
      maxMessageBytes: size,
      maxReassemblyBytes: size,
    });
    for (let i = 0; i < 5; i++) {
      const raw = await fixture.raw();
      const total = new Uint8Array(8);
      total.set(u32(size));
      await raw.send(KIND_REQUEST, 1, total, FLAG_MORE);
      await raw.send(KIND_REQUEST, 1, pattern(1000), FLAG_MORE);
      await raw.send(KIND_CREDIT, 9, u32(1));
      await raw.channel.close('gone');
      await eventually('it has left', () => fixture.disconnects().length === i + 1);
    }
    const client = await fixture.client();
    expect(readU32(await client.request(withHead(size, 9)))).toBe(9);
  });

  test('a message that waits for memory keeps its place, and what comes behind it keeps its own', async () => {
    const size = 50_000;
    const seen: number[] = [];
    const gates = [deferred(), deferred()];
    const fixture = await serveWith(
      transport,
      async (_id, request) => {
        const value = readU32(request);
        seen.push(value);
        if (value < 2) await gates[value]!.promise;
        return u32(value);
      },
      { windowBytes: 32 * KiB, maxMessageBytes: size, maxReassemblyBytes: size },
    );
    const holder = await fixture.client();
    const client = await fixture.client();
    const held = holder.request(withHead(size, 0));
    await eventually('the memory is taken', () => seen.length === 1);
    const answers = [client.request(withHead(size, 2)), client.request(u32(3)), client.request(u32(4))];
    const other = await fixture.client();
    expect(readU32(await other.request(u32(5)))).toBe(5);
    expect(seen).toEqual([0, 5]);
    gates[0]!.resolve();
    expect(readU32(await held)).toBe(0);
    expect((await Promise.all(answers)).map((answer) => readU32(answer))).toEqual([2, 3, 4]);
    expect(seen).toEqual([0, 5, 2, 3, 4]);
  });

  test('items that wait for memory at a client keep their order', async () => {
    const size = 100_000;
    const sizes = [10, size, 20, size, 30];
    const { client } = await withClient(
      transport,
      (_id, request) => (request.byteLength > 4 ? request : from(sizes.map((bytes, i) => pattern(bytes, i)))),
      { responseWindowBytes: 256 * KiB },
      { responseWindowBytes: 256 * KiB, maxMessageBytes: size, maxReassemblyBytes: size },
    );
    // A borrowed reply that came in fragments holds all the memory there is for such.
    const reply = await client.exchange(pattern(size));
    const received: number[] = [];
    const items = client.request$(u32(0)).forEach((item) => received.push(item.byteLength));
    await eventually('the first item', () => received.length === 1);
    // The small one behind it has come as well by then.
    expect((await client.request(pattern(50))).byteLength).toBe(50);
    expect(received).toEqual([10]);
    reply.release();
    await items;
    expect(received).toEqual(sizes);
  });

  test('input items that wait for memory at a server keep their order', async () => {
    const size = 100_000;
    const sizes = [10, size, 20, size, 30];
    const gate = deferred();
    const { client, fixture } = await withClient(
      transport,
      async (_id, request, info) => {
        if (info.input$ !== undefined) return info.input$.pipe(map((item) => u32(item.byteLength)));
        await gate.promise;
        return u32(readU32(request));
      },
      { windowBytes: 64 * KiB, maxMessageBytes: size, maxReassemblyBytes: size },
    );
    const holder = await fixture.client();
    const held = holder.request(pattern(size));
    await eventually('the memory is taken', () => fixture.server.stats.openRequests === 1);
    const received: number[] = [];
    const input$ = from(sizes.map((bytes, i) => pattern(bytes, i)));
    const items = client.duplex$(u32(0), input$).forEach((item) => received.push(readU32(item)));
    await eventually('the first item', () => received.length === 1);
    gate.resolve();
    await held;
    await items;
    expect(received).toEqual(sizes);
  });

  test('a raw client may send a whole message in single-byte fragments', async () => {
    const fixture = await serveWith(transport, (_id, request, info) => info.input$ ?? request);
    const raw = await fixture.raw();
    const payload = pattern(50);
    const total = new Uint8Array(8);
    total.set(u32(payload.byteLength));
    await raw.send(KIND_DUPLEX_REQUEST, 3);
    for (const [kind, id] of [
      [KIND_REQUEST, 1],
      [KIND_ITEM, 3],
    ] as const) {
      await raw.send(kind, id, total, FLAG_MORE);
      for (let i = 0; i < payload.byteLength; i++) {
        await raw.send(kind, id, payload.subarray(i, i + 1), i === payload.byteLength - 1 ? 0 : FLAG_MORE);
      }
    }
    await raw.untilEnded(1);
    expect(sameBytes(raw.terminals(1)[0]!.payload, payload)).toBe(true);
    await eventually('the item comes back', () => raw.ofKind(KIND_ITEM, 3).length === 1);
    expect(sameBytes(raw.ofKind(KIND_ITEM, 3)[0]!.payload, payload)).toBe(true);
  });
}

/** A message of `size` bytes that begins with a number. */
function withHead(size: number, head: number): Uint8Array {
  const payload = pattern(size, head);
  payload.set(u32(head));
  return payload;
}

function both(same: readonly boolean[]): boolean {
  return same.length === 2 && same.every(Boolean);
}
