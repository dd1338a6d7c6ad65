/** Limits: the largest message, how many clients, and large messages in fragments. */
import { concat, from, lastValueFrom, map, of, toArray } from 'rxjs';
import { expect, test } from 'vitest';
import { FLAG_MORE, KIND_CREDIT, KIND_DUPLEX_REQUEST, KIND_ITEM, KIND_ONE_WAY, KIND_REQUEST } from '../frame.ts';
import { deferred, eventually, expectCode, failureOf } from './eventually.ts';
import { echo, serve, serveWith, withClient } from './fixture.ts';
import { bytesOf, pattern, readU32, sameBytes, textOf, u32 } from './payloads.ts';
import type { TransportUnderTest } from './transport-under-test.ts';

const KiB = 1024;
const MAX = 10_000;

export function describeLimits(transport: TransportUnderTest): void {
  const { framing } = transport;

  test('requests and answers of maxMessageBytes pass', async () => {
    const { client } = await withClient(transport, echo, { maxMessageBytes: MAX }, { maxMessageBytes: MAX });
    for (const size of [MAX - 1, MAX]) {
      expect(sameBytes(await client.request(pattern(size)), pattern(size))).toBe(true);
      const reply = await client.exchange(pattern(size, 1));
      expect(sameBytes(reply.span, pattern(size, 1))).toBe(true);
      reply.release();
    }
  });

  test('a message over the limit of the client rejects that call, at once and alone', async () => {
    const { client, server } = await withClient(transport, echo, {}, { maxMessageBytes: MAX });
    const before = client.request(pattern(MAX, 1));
    const error = await failureOf(client.request(pattern(MAX + 1)));
    expect(error).toMatchObject({ code: 'ERR_IPC_MESSAGE_TOO_LARGE', messageBytes: MAX + 1, maxMessageBytes: MAX });
    await expectCode(client.exchange(pattern(MAX + 1)), 'ERR_IPC_MESSAGE_TOO_LARGE');
    const after = client.request(pattern(MAX, 2));
    expect(sameBytes(await before, pattern(MAX, 1))).toBe(true);
    expect(sameBytes(await after, pattern(MAX, 2))).toBe(true);
    expect(server.stats.requests).toBe(2);
  });

  test('hundreds of clients one after the other leave nothing behind', async () => {
    const fixture = await serveWith(transport, echo, { maxClients: 2 });
    for (let i = 0; i < 300; i++) {
      const client = fixture.idle();
      await client.connect();
      expect(readU32(await client.request(u32(i)))).toBe(i);
      await client.close();
      await eventually('it has left', () => fixture.server.stats.clients === 0);
    }
    expect(fixture.server.stats).toMatchObject({ openRequests: 0, requests: 300 });
  });

  test('many clients at once are served', async () => {
    const fixture = await serveWith(transport, echo);
    const clients = await Promise.all(Array.from({ length: 64 }, () => fixture.client()));
    await Promise.all(
      clients.map(async (client, n) => {
        for (let i = 0; i < 10; i++) expect(readU32(await client.request(u32(n * 100 + i)))).toBe(n * 100 + i);
      }),
    );
    expect(fixture.server.stats).toMatchObject({ clients: 64, requests: 640 });
  });

  if (framing === 'plain') return;

  test('requests and sends over the limit of the server reject with ERR_IPC_MESSAGE_TOO_LARGE, and nothing is sent', async () => {
    const { client, server } = await withClient(transport, echo, { maxMessageBytes: MAX });
    const over = pattern(MAX + 1);
    await expectCode(client.request(over), 'ERR_IPC_MESSAGE_TOO_LARGE');
    await expectCode(client.exchange(over), 'ERR_IPC_MESSAGE_TOO_LARGE');
    await expectCode(client.send(over), 'ERR_IPC_MESSAGE_TOO_LARGE');
    await expectCode(lastValueFrom(client.request$(over)), 'ERR_IPC_MESSAGE_TOO_LARGE');
    expect(() => client.trySend(over)).toThrow(expect.objectContaining({ code: 'ERR_IPC_MESSAGE_TOO_LARGE' }));
    expect(sameBytes(await client.request(pattern(MAX)), pattern(MAX))).toBe(true);
    expect(server.stats).toMatchObject({ requests: 1, messages: 0 });
  });

  test('an answer over the limit of either side rejects its request, and nothing else', async () => {
    for (const [ofServer, ofClient] of [
      [undefined, MAX],
      [MAX, undefined],
    ]) {
      const { client } = await withClient(
        transport,
        (_id, request) => pattern(readU32(request)),
        { maxMessageBytes: ofServer },
        { maxMessageBytes: ofClient },
      );
      const before = client.request(u32(MAX));
      await expectCode(client.request(u32(MAX + 1)), 'ERR_IPC_MESSAGE_TOO_LARGE');
      await expectCode(client.exchange(u32(MAX + 1)), 'ERR_IPC_MESSAGE_TOO_LARGE');
      expect((await before).byteLength).toBe(MAX);
      expect((await client.request(u32(MAX))).byteLength).toBe(MAX);
    }
  });

  test('an input item over the limit of the server fails its input, and nothing else', async () => {
    const { client } = await withClient(
      transport,
      async (_id, request, info) => {
        if (info.input$ === undefined) return request;
        const failure = await failureOf(lastValueFrom(info.input$.pipe(toArray())));
        return bytesOf(String((failure as { code?: unknown }).code));
      },
      { maxMessageBytes: MAX },
    );
    const input$ = from([pattern(MAX), pattern(MAX + 1), pattern(1)]);
    expect(textOf(await lastValueFrom(client.duplex$(u32(0), input$)))).toBe('ERR_IPC_MESSAGE_TOO_LARGE');
    expect(readU32(await client.request(u32(1)))).toBe(1);
  });

  test('the server checks what a client of its own would not send: it costs that request only', async () => {
    const messages: number[] = [];
    const fixture = await serveWith(transport, echo, { maxMessageBytes: 1000 });
    fixture.server.messages$.subscribe(({ data }) => messages.push(data.byteLength));
    const raw = await fixture.raw();
    await raw.send(KIND_REQUEST, 1, pattern(1001));
    await raw.untilEnded(1);
    expect(raw.errorCode(1)).toBe('ERR_IPC_MESSAGE_TOO_LARGE');
    // The same in fragments, whose total says so before they come.
    const total = new Uint8Array(8);
    total.set(u32(5000));
    await raw.send(KIND_REQUEST, 2, total, FLAG_MORE);
    await raw.untilEnded(2);
    expect(raw.errorCode(2)).toBe('ERR_IPC_MESSAGE_TOO_LARGE');
    for (let i = 0; i < 4; i++) await raw.send(KIND_REQUEST, 2, pattern(1000), FLAG_MORE);
    await raw.send(KIND_REQUEST, 2, pattern(1000));
    await raw.send(KIND_ONE_WAY, 0, pattern(1001));
    await raw.send(KIND_ONE_WAY, 0, pattern(1000));
    await raw.send(KIND_REQUEST, 3, pattern(1000));
    await raw.untilEnded(3);
    expect(raw.terminals(2).length).toBe(1);
    expect(messages).toEqual([1000]);
    expect(fixture.server.stats.requests).toBe(1);
    expect(fixture.disconnects()).toEqual([]);
  });

  test('beyond maxClients, connect() rejects with ERR_IPC_OVERLOADED, until one leaves', async () => {
    const fixture = await serveWith(transport, echo, { maxClients: 2 });
    const first = await fixture.client();
    await fixture.client();
    const third = fixture.idle();
    await expectCode(third.connect(), 'ERR_IPC_OVERLOADED');
    await first.close();
    await eventually('there is room', () => fixture.server.stats.clients === 1);
    await third.connect();
    expect(readU32(await third.request(u32(3)))).toBe(3);
  });

  test('beyond maxMemoryBytes, connect() rejects with ERR_IPC_OVERLOADED', async () => {
    const fixture = await serveWith(transport, echo, {
      windowBytes: 64 * KiB,
      responseWindowBytes: 64 * KiB,
      maxMemoryBytes: 256 * KiB,
    });
    const clients = [];
    let refused: unknown;
    // Transports with headers beside their rings fit one client less.
    for (let i = 0; i < 4 && refused === undefined; i++) {
      const client = fixture.idle();
      refused = await client.connect().then(
        () => undefined,
        (error: unknown) => error,
      );
      if (refused === undefined) clients.push(client);
    }
    expect(refused).toMatchObject({ code: 'ERR_IPC_OVERLOADED' });
    expect(clients.length).toBeGreaterThanOrEqual(1);
    expect(clients.length).toBeLessThanOrEqual(2);
    expect(readU32(await clients[0]!.request(u32(1)))).toBe(1);
  });

  // ---- fragments ----

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
    const aborted: number[] = [];
    fixture.server.requests$.subscribe((request) => {
      if (request.span.byteLength > 4) {
        request.respond(u32(0));
        return;
      }
      const value = readU32(request.span);
      request.signal.addEventListener('abort', () => {
        aborted.push(value);
        request.release();
      });
    });
    const client = await fixture.client();
    const controller = new AbortController();
    const failure = failureOf(client.request(u32(7), { signal: controller.signal }));
    await eventually('it runs', () => fixture.server.stats.openRequests === 1);
    let done = false;
    const large = client.request(pattern(5_000_000)).then(() => (done = true));
    controller.abort();
    await failure;
    await eventually('the cancel acts', () => aborted.length === 1);
    await large;
    expect(done).toBe(true);
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
      {},
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
