/** One-way messages of clients, and pushes of servers. */
import { expect, test } from 'vitest';
import type { Bytes, IpcMessage, IpcReply } from '../contract.ts';
import { KIND_ONE_WAY, KIND_REQUEST } from '../frame.ts';
import { requester } from '../requester.ts';
import { eventually, expectCode, failureOf } from './eventually.ts';
import { echo, serve, serveWith, withClient, type Fixture } from './fixture.ts';
import { bytesOf, pattern, readU32, sameBytes, textOf, u32 } from './payloads.ts';
import type { TransportUnderTest } from './transport-under-test.ts';

const KiB = 1024;

/** The id of the client that connected last. */
function lastClientId(fixture: Fixture): number {
  return fixture.events.findLast((event) => event.type === 'connected')!.clientId;
}

export function describeOneWay(transport: TransportUnderTest): void {
  test('one-way messages arrive in order, with the id of their client, at every subscriber', async () => {
    const fixture = await serve(transport);
    const first: IpcMessage[] = [];
    const second: IpcMessage[] = [];
    fixture.server.messages$.subscribe((message) => first.push(message));
    fixture.server.messages$.subscribe((message) => second.push(message));
    const client = await fixture.client();
    for (let i = 0; i < 200; i++) await client.send(u32(i));
    await eventually('all came', () => first.length === 200);
    expect(first.map(({ data }) => readU32(data))).toEqual([...Array(200).keys()]);
    expect(new Set(first.map(({ clientId }) => clientId))).toEqual(new Set([lastClientId(fixture)]));
    expect(second).toEqual(first);
    expect(fixture.server.stats).toMatchObject({ messages: 200, requests: 0 });
  });

  test('what the continuations of many answers send one way arrives without another request', async () => {
    const fixture = await serveWith(transport, echo);
    const came: number[] = [];
    fixture.server.messages$.subscribe(({ data }) => came.push(readU32(data)));
    const client = await fixture.client();
    const count = 100;
    await Promise.all(
      Array.from({ length: count }, (_, i) =>
        client.request(u32(i)).then(async (answer) => {
          await Promise.resolve();
          await client.send(answer);
        }),
      ),
    );
    await eventually('all came', () => came.length === count);
    expect(came).toEqual([...Array(count).keys()]);
  });

  test('messages are owned copies of any size, zero included', async () => {
    const sizes = [0, 1, 63, 64, 4096, 0, 200_000, 5];
    const fixture = await serve(transport, { windowBytes: 32 * KiB });
    const messages: Bytes[] = [];
    fixture.server.messages$.subscribe(({ data }) => messages.push(data));
    const client = await fixture.client();
    const scratch = Buffer.alloc(200_000);
    for (const [i, size] of sizes.entries()) {
      scratch.set(pattern(size, i));
      await client.send(scratch.subarray(0, size));
      scratch.fill(0);
    }
    await eventually('all came', () => messages.length === sizes.length);
    for (const [i, data] of messages.entries()) {
      expect(sameBytes(data, pattern(sizes[i]!, i))).toBe(true);
      expect(data.buffer.byteLength).toBe(data.byteLength);
    }
  });

  test('messages and requests of one client keep their order', async () => {
    const seen: number[] = [];
    const fixture = await serve(transport);
    fixture.server.messages$.subscribe(({ data }) => seen.push(readU32(data)));
    fixture.server.respond((_id, request) => {
      seen.push(readU32(request));
      return request;
    });
    const client = await fixture.client();
    const calls: Array<Promise<unknown>> = [];
    for (let i = 0; i < 100; i++) calls.push(i % 2 === 0 ? client.send(u32(i)) : client.request(u32(i)));
    await Promise.all(calls);
    expect(seen).toEqual([...Array(100).keys()]);
  });

  test('messages pass requests that nobody reads, and those wait for their reader', async () => {
    const fixture = await serve(transport);
    const messages: string[] = [];
    fixture.server.messages$.subscribe(({ data }) => messages.push(textOf(data)));
    const client = await fixture.client();
    const answers = ['a', 'b', 'c'].map((text) => client.request(bytesOf(text)));
    await client.send(bytesOf('message'));
    await eventually('the message came', () => messages.length === 1);
    const seen: string[] = [];
    fixture.server.respond((_id, request) => {
      seen.push(textOf(request));
      return request;
    });
    await Promise.all(answers);
    expect(seen).toEqual(['a', 'b', 'c']);
  });

  test('what was sent before close() arrives, and then the client is gone', async () => {
    const fixture = await serve(transport, { windowBytes: 8 * KiB });
    const messages: number[] = [];
    fixture.server.messages$.subscribe(({ data }) => {
      expect(fixture.disconnects()).toEqual([]);
      messages.push(readU32(data));
    });
    const client = await fixture.client();
    // More than the window: some wait when close() is called.
    const sent = Array.from({ length: 100 }, (_, i) => client.send(pattern(1000, i).fill(i, 0, 4)));
    await client.close();
    await Promise.all(sent);
    await eventually('the client is gone', () => fixture.disconnects().length === 1);
    expect(messages.map((value) => value & 0xff)).toEqual([...Array(100).keys()]);
    expect(fixture.disconnects()[0]).toMatchObject({ reason: 'closed', error: undefined });
  });

  test('messages of a client that left wait for their reader', async () => {
    const fixture = await serve(transport);
    const client = await fixture.client();
    for (let i = 0; i < 10; i++) await client.send(u32(i));
    await client.close();
    const messages: number[] = [];
    fixture.server.messages$.subscribe(({ data }) => messages.push(readU32(data)));
    await eventually('all came', () => messages.length === 10);
    await eventually('the client is gone', () => fixture.disconnects().length === 1);
  });

  test('trySend takes messages of every size when nothing waits', async () => {
    const windowBytes = 16 * KiB;
    const fixture = await serve(transport, { windowBytes });
    const sizes: number[] = [];
    fixture.server.messages$.subscribe(({ data }) => sizes.push(data.byteLength));
    const client = await fixture.client();
    // Around a quarter of the window, where fragments begin, and around the window itself.
    const around = [windowBytes / 4, windowBytes].flatMap((at) => Array.from({ length: 40 }, (_, i) => at - 30 + i));
    for (const size of [0, 1, ...around, 10 * windowBytes]) {
      await eventually(`${size} bytes are taken`, () => client.trySend(new Uint8Array(size)));
    }
    await eventually('all came', () => sizes.length === around.length + 3);
    expect(sizes).toEqual([0, 1, ...around, 10 * windowBytes]);
  });

  test('a send that is aborted while it waits rejects, and is not sent', async () => {
    const fixture = await serve(transport, { windowBytes: 8 * KiB });
    const client = await fixture.client();
    const controller = new AbortController();
    const before = Array.from({ length: 20 }, (_, i) => client.send(pattern(1000, i).fill(i, 0, 4)));
    const failure = failureOf(client.send(u32(0xffff), { signal: controller.signal }));
    const late = expectCode(client.send(u32(0xfffe), { timeoutMs: 10 }), 'ERR_IPC_TIMEOUT');
    const after = client.send(u32(0xfffd));
    controller.abort(new Error('enough'));
    expect(await failure).toHaveProperty('message', 'enough');
    await late;
    const messages: number[] = [];
    fixture.server.messages$.subscribe(({ data }) => messages.push(readU32(data)));
    await Promise.all([...before, after]);
    await eventually('all came', () => messages.length === 21);
    expect(messages.at(-1)).toBe(0xfffd);
  });

  test('send() and trySend() without a connection', async () => {
    const fixture = await serve(transport);
    const client = fixture.idle();
    await expectCode(client.send(u32(1)), 'ERR_IPC_CLOSED');
    expect(client.trySend(u32(1))).toBe(false);
    const connecting = client.connect();
    const early = client.send(u32(2));
    expect(client.trySend(u32(3))).toBe(false);
    await connecting;
    await early;
    await client.close();
    await expectCode(client.send(u32(4)), 'ERR_IPC_CLOSED');
    expect(client.trySend(u32(5))).toBe(false);
    const bad: unknown = 'text';
    expect(() => client.trySend(bad as Bytes)).toThrow(TypeError);
    await expect(client.send(bad as Bytes)).rejects.toBeInstanceOf(TypeError);
  });

  // ---- pushes ----

  test('pushes arrive in order, in both forms of receiving', async () => {
    const fixture = await serve(transport);
    const client = await fixture.client();
    const clientId = lastClientId(fixture);
    for (let i = 0; i < 10; i++) expect(fixture.server.send(clientId, u32(i))).toBe(true);
    for (let i = 0; i < 4; i++) expect(readU32((await client.receive())!)).toBe(i);
    const pushed: number[] = [];
    client.messages$.subscribe((data) => pushed.push(readU32(data)));
    await eventually('the rest', () => pushed.length === 6);
    expect(pushed).toEqual([4, 5, 6, 7, 8, 9]);
    for (let i = 10; i < 20; i++) fixture.server.send(clientId, u32(i));
    await eventually('all', () => pushed.length === 16);
    expect(pushed.slice(6)).toEqual([10, 11, 12, 13, 14, 15, 16, 17, 18, 19]);
  });

  test('answers and pushes reach their takers in the order in which they were sent, also beside replies that are held', async () => {
    const { server, client } = await withClient(transport, (clientId, request) => {
      if (readU32(request) % 3 === 0) server.send(clientId, request);
      return request;
    });
    const log: string[] = [];
    client.messages$.subscribe((data) => log.push(`push ${readU32(data)}`));
    const held: Array<Promise<IpcReply>> = [];
    const answered = new Promise<void>((resolve, reject) => {
      for (let i = 0; i < 60; i++) {
        if (i % 10 === 7) held.push(client.exchange(u32(i)));
        else {
          const each = requester(
            client,
            (reply) => {
              log.push(`answer ${readU32(reply)}`);
              if (i === 59) resolve();
            },
            reject,
          );
          each.request(u32(i));
        }
      }
    });
    await answered;
    const expected: string[] = [];
    for (let i = 0; i < 60; i++) {
      if (i % 3 === 0) expected.push(`push ${i}`);
      if (i % 10 !== 7) expected.push(`answer ${i}`);
    }
    expect(log).toEqual(expected);
    const replies = await Promise.all(held);
    expect(replies.map((reply) => readU32(reply.span))).toEqual([7, 17, 27, 37, 47, 57]);
    for (const reply of replies) reply.release();
  });

  test('receive() waits as long as it was told, and those who wait are served in order', async () => {
    const fixture = await serve(transport);
    const client = await fixture.client();
    const clientId = lastClientId(fixture);
    expect(await client.receive(0)).toBeUndefined();
    const startedMs = performance.now();
    expect(await client.receive(30)).toBeUndefined();
    // Timers may fire a little early, since times are rounded.
    expect(performance.now() - startedMs).toBeGreaterThanOrEqual(25);
    const waiting = [client.receive(), client.receive(), client.receive(30_000)];
    for (let i = 0; i < 3; i++) fixture.server.send(clientId, u32(i));
    expect((await Promise.all(waiting)).map((data) => readU32(data!))).toEqual([0, 1, 2]);
    await expect(client.receive(-1)).rejects.toBeInstanceOf(RangeError);
    const last = client.receive();
    await client.close();
    expect(await last).toBeUndefined();
    expect(await client.receive()).toBeUndefined();
  });

  test('pushes of any size arrive, zero and large ones included, also at the edge of fragments', async () => {
    const window = 16 * KiB;
    const fixture = await serve(transport);
    const client = await fixture.client({ responseWindowBytes: window });
    const clientId = lastClientId(fixture);
    const sizes = [0, 1, ...Array.from({ length: 40 }, (_, i) => window / 4 - 30 + i), 300_000, 0];
    for (const [i, size] of sizes.entries()) {
      await eventually(`${size} bytes are taken`, () => fixture.server.send(clientId, pattern(size, i)));
      expect(sameBytes((await client.receive())!, pattern(size, i))).toBe(true);
    }
  });

  test('a client that takes no pushes out bounds them: more are dropped and counted, answers pass', async () => {
    const { client, fixture } = await withClient(transport, echo, {}, { windowBytes: 16 * KiB });
    const clientId = lastClientId(fixture);
    let taken = 0;
    for (let i = 0; i < 200; i++) {
      if (fixture.server.send(clientId, pattern(1000, i))) taken++;
      expect(readU32(await client.request(u32(i)))).toBe(i);
    }
    expect(taken).toBe(200);
    await eventually('the rest is dropped', () => client.stats.droppedPushes > 0);
    let received = 0;
    while ((await client.receive(0)) !== undefined) received++;
    expect(received).toBe(16);
    expect(client.stats.droppedPushes).toBe(184);
    // There is room again.
    fixture.server.send(clientId, u32(7));
    expect(readU32((await client.receive())!)).toBe(7);
  });

  test('a push finds a full window: it is dropped, counted, and never waits', async () => {
    const fixture = await serveWith(transport, echo);
    const raw = await fixture.raw({ holding: true, responseWindowBytes: 8 * KiB });
    const clientId = lastClientId(fixture);
    let taken = 0;
    let refused = 0;
    await eventually('the window is full of what has come', () => {
      while (fixture.server.send(clientId, pattern(1000))) taken++;
      refused++;
      return raw.ofKind(KIND_ONE_WAY).length === taken;
    });
    expect(fixture.server.stats.droppedPushes).toBe(refused);
    expect(fixture.server.broadcast(pattern(1000))).toBe(0);
    expect(fixture.server.stats.droppedPushes).toBe(refused + 1);
    const other = await fixture.client();
    expect(fixture.server.broadcast(pattern(1000))).toBe(1);
    expect((await other.receive())!.byteLength).toBe(1000);
    raw.letGo();
    await eventually('all that were taken came', () => raw.ofKind(KIND_ONE_WAY).length === taken);
    await raw.send(KIND_REQUEST, 1);
    await raw.untilEnded(1);
    expect(raw.ofKind(KIND_ONE_WAY).length).toBe(taken);
  });

  test('broadcast reaches every client, and says how many', async () => {
    const fixture = await serve(transport);
    expect(fixture.server.broadcast(u32(0))).toBe(0);
    const clients = await Promise.all(Array.from({ length: 5 }, () => fixture.client()));
    expect(fixture.server.broadcast(bytesOf('all'))).toBe(5);
    for (const client of clients) expect(textOf((await client.receive())!)).toBe('all');
    await clients[0]!.close();
    await eventually('one has left', () => fixture.server.stats.clients === 4);
    expect(fixture.server.broadcast(bytesOf('rest'))).toBe(4);
  });

  test('a push over the maxMessageBytes of its client throws, and a broadcast leaves that client out', async () => {
    const fixture = await serve(transport);
    const small = await fixture.client({ maxMessageBytes: 100 });
    const smallId = lastClientId(fixture);
    const large = await fixture.client();
    expect(() => fixture.server.send(smallId, pattern(101))).toThrow(
      expect.objectContaining({ code: 'ERR_IPC_MESSAGE_TOO_LARGE' }),
    );
    expect(fixture.server.broadcast(pattern(101))).toBe(1);
    expect(fixture.server.broadcast(pattern(100))).toBe(2);
    expect((await small.receive())!.byteLength).toBe(100);
    expect((await large.receive())!.byteLength).toBe(101);
  });

  test('a push to a client that left is false and counted; to one that never was, a TypeError', async () => {
    const fixture = await serve(transport);
    const client = await fixture.client();
    const clientId = lastClientId(fixture);
    await client.close();
    await eventually('it has left', () => fixture.server.stats.clients === 0);
    expect(fixture.server.send(clientId, u32(1))).toBe(false);
    expect(fixture.server.stats.droppedPushes).toBe(1);
    expect(() => fixture.server.send(clientId + 1, u32(1))).toThrow(TypeError);
    const bad: unknown = 'text';
    expect(() => fixture.server.send(clientId, bad as Bytes)).toThrow(TypeError);
    expect(() => fixture.server.broadcast(bad as Bytes)).toThrow(TypeError);
  });
}
