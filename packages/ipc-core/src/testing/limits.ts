/** Limits: the largest message, and how many clients. */
import { from, lastValueFrom, toArray } from 'rxjs';
import { expect, test } from 'vitest';
import { FLAG_MORE, KIND_ONE_WAY, KIND_REQUEST } from '../frame.ts';
import { eventually, expectCode, failureOf } from './eventually.ts';
import { echo, serveWith, withClient } from './fixture.ts';
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
    for (let i = 0; i < 200; i++) {
      const client = fixture.idle();
      await client.connect();
      expect(readU32(await client.request(u32(i)))).toBe(i);
      await client.close();
      await eventually('it has left', () => fixture.server.stats.clients === 0);
    }
    expect(fixture.server.stats).toMatchObject({ openRequests: 0, requests: 200 });
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
}
