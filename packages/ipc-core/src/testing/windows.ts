/** Flow control: what bounds a client, on both sides, and that nobody else notices. */
import { expect, test } from 'vitest';
import type { IpcClient, IpcRequest } from '../contract.ts';
import { KIND_REQUEST, KIND_RESPONSE } from '../frame.ts';
import { deferred, eventually, standsStill } from './eventually.ts';
import { echo, serve, serveWith, withClient } from './fixture.ts';
import { pattern, readU32, sameBytes, textOf, u32 } from './payloads.ts';
import type { TransportUnderTest } from './transport-under-test.ts';

const KiB = 1024;

/** A numbered message. */
function numbered(i: number, size: number): Uint8Array {
  const payload = pattern(size, i);
  payload.set(u32(i));
  return payload;
}

/** Shows that a client is served, with a conversation long enough that others' stalls would have ended in it. */
async function converse(client: IpcClient, times = 20): Promise<void> {
  for (let i = 0; i < times; i++) expect(readU32(await client.request(u32(i)))).toBe(i);
}

export function describeWindows(transport: TransportUnderTest): void {
  test('the unreleased bytes of a client stay inside windowBytes, and others are served meanwhile', async () => {
    const windowBytes = 64 * KiB;
    const size = 1000;
    const held: IpcRequest[] = [];
    let heldBytes = 0;
    let most = 0;
    let delivered = 0;
    const fixture = await serve(transport, { windowBytes });
    fixture.server.requests$.subscribe((request) => {
      if (request.span.byteLength < size) {
        request.respond(request.span);
        return;
      }
      delivered++;
      held.push(request);
      heldBytes += size;
      most = Math.max(most, heldBytes);
    });
    const other = await fixture.client();
    const client = await fixture.client();
    const answers = Array.from({ length: 400 }, (_, i) => client.request(numbered(i, size)));
    await eventually('the window is full', () => heldBytes > windowBytes / 2);
    expect(
      await standsStill(
        () => delivered,
        () => converse(other),
      ),
    ).toBeLessThan(400);
    // Released out of order, every window comes back.
    for (let answered = 0; answered < 400; answered++) {
      await eventually('one is held', () => held.length > 0);
      const [request] = held.splice(answered % 3 === 0 ? held.length - 1 : 0, 1);
      heldBytes -= size;
      request!.respond(request!.span.slice(0, 4));
    }
    expect((await Promise.all(answers)).map((answer) => readU32(answer))).toEqual([...Array(400).keys()]);
    // The message that reaches the bound may overshoot it.
    expect(most).toBeLessThanOrEqual(windowBytes + size);
  });

  test('requests larger than the window count as well: one at a time, and others are served meanwhile', async () => {
    const size = 40_000;
    const held: IpcRequest[] = [];
    const fixture = await serve(transport, { windowBytes: 16 * KiB });
    fixture.server.requests$.subscribe((request) => {
      if (request.span.byteLength < size) request.respond(request.span);
      else held.push(request);
    });
    const other = await fixture.client();
    const client = await fixture.client();
    const answers = Array.from({ length: 20 }, (_, i) => client.request(numbered(i, size)));
    for (let i = 0; i < 20; i++) {
      await eventually(`request ${i}`, () => held.length > 0);
      await converse(other, 3);
      expect(held.length).toBe(1);
      const request = held.pop()!;
      request.respond(request.span.slice(0, 4));
    }
    expect((await Promise.all(answers)).map((answer) => readU32(answer))).toEqual([...Array(20).keys()]);
  });

  test('the unanswered requests of a client stay inside maxInFlight, and others are served meanwhile', async () => {
    const held: IpcRequest[] = [];
    const fixture = await serve(transport, { maxInFlight: 5 });
    let most = 0;
    fixture.server.requests$.subscribe((request) => {
      if (request.span.byteLength === 4) {
        request.respond(request.span);
        return;
      }
      held.push(request);
      most = Math.max(most, held.length);
    });
    const other = await fixture.client();
    const client = await fixture.client();
    const answers = Array.from({ length: 100 }, (_, i) => client.request(numbered(i, 8)));
    await eventually('five are open', () => held.length === 5);
    await converse(other);
    expect(held.length).toBe(5);
    for (let i = 0; i < 100; i++) {
      await eventually('one is open', () => held.length > 0);
      const request = held.shift()!;
      request.respond(request.span);
    }
    expect((await Promise.all(answers)).map((answer) => readU32(answer))).toEqual([...Array(100).keys()]);
    expect(most).toBe(5);
  });

  test('a request that is released but not answered still counts as in flight', async () => {
    const requests: IpcRequest[] = [];
    const fixture = await serve(transport, { maxInFlight: 2 });
    fixture.server.requests$.subscribe((request) => {
      request.release();
      requests.push(request);
    });
    const client = await fixture.client();
    const answers = Array.from({ length: 6 }, (_, i) => client.request(u32(i)));
    for (let i = 0; i < 6; i++) {
      await eventually(`request ${i}`, () => requests.length > i);
      expect(requests.length).toBeLessThanOrEqual(i + 2);
      requests[i]!.respond(u32(i));
    }
    expect((await Promise.all(answers)).map((answer) => readU32(answer))).toEqual([0, 1, 2, 3, 4, 5]);
  });

  test('releasing one small request makes room for one more', async () => {
    const windowBytes = 64 * KiB;
    const size = 1000;
    const held: IpcRequest[] = [];
    const fixture = await serve(transport, { windowBytes });
    fixture.server.requests$.subscribe((request) => held.push(request));
    const client = await fixture.client();
    const pending = Array.from({ length: 100 }, (_, i) => client.request(numbered(i, size)));
    await eventually('the window is full', () => held.length >= 60);
    const other = await fixture.client();
    const served = other.request(u32(0));
    await eventually('another client is served', () => held.some(({ span }) => span.byteLength === 4));
    const [mark] = held.splice(
      held.findIndex(({ span }) => span.byteLength === 4),
      1,
    );
    mark!.respond(u32(0));
    await served;
    // The oldest, one by one: each lets one more in, long before a good part of the window is free.
    for (let i = 0; i < 30; i++) {
      const before = held.length;
      held.shift()!.respond(u32(i));
      await eventually('one more is delivered', () => held.length >= before);
    }
    for (let left = 70; left > 0; left--) {
      await eventually('one is held', () => held.length > 0);
      held.shift()!.respond(u32(left));
    }
    await Promise.all(pending);
  });

  test('a client that does not read its answers is bounded, loses none of them, and others are served', async () => {
    const answerBytes = 64 * KiB;
    let taken = 0;
    const fixture = await serveWith(
      transport,
      (_id, request) => {
        if (request.byteLength === 4) return request;
        taken++;
        return pattern(answerBytes, readU32(request));
      },
      { responseWindowBytes: 64 * KiB, maxInFlight: 1024 },
    );
    const other = await fixture.client();
    const raw = await fixture.raw({ holding: true, responseWindowBytes: 64 * KiB });
    const count = 300;
    const requests = (async () => {
      for (let i = 1; i <= count; i++) await raw.send(KIND_REQUEST, i, numbered(i, 8));
    })();
    await eventually('the first requests came', () => taken > 0);
    const stopped = await standsStill(
      () => taken,
      () => converse(other, 50),
    );
    // What waits at the server, what is in the window of the client, and what the system buffers between them.
    expect(stopped).toBeLessThan(count / 4);
    expect(raw.received.length).toBeLessThan(count / 4);
    raw.letGo();
    await requests;
    if (transport.framing === 'plain') {
      await eventually('all answers', () => raw.ofKind(KIND_RESPONSE).length === count);
      for (const [i, { payload }] of raw.ofKind(KIND_RESPONSE).entries()) {
        expect(sameBytes(payload, pattern(answerBytes, i + 1))).toBe(true);
      }
      return;
    }
    for (let i = 1; i <= count; i++) await raw.untilEnded(i);
    expect(raw.ofKind(KIND_RESPONSE).length).toBeGreaterThanOrEqual(count);
  });

  test('a slow handler holds a flooding client, which loses nothing', async () => {
    const maxInFlight = 8;
    let running = 0;
    let most = 0;
    const { client } = await withClient(
      transport,
      async (_id, request) => {
        most = Math.max(most, ++running);
        await new Promise((resolve) => setImmediate(resolve));
        running--;
        return request.slice(0, 4);
      },
      { windowBytes: 16 * KiB, maxInFlight },
      { maxPending: 4096 },
    );
    const answers = Array.from({ length: 2000 }, (_, i) => client.request(numbered(i, 500)));
    expect((await Promise.all(answers)).map((answer) => readU32(answer))).toEqual([...Array(2000).keys()]);
    expect(running).toBe(0);
    expect(most).toBeLessThanOrEqual(maxInFlight);
  });

  test('messages many times as large as the windows pass, both ways at once', async () => {
    const { client } = await withClient(
      transport,
      echo,
      { windowBytes: 8 * KiB, responseWindowBytes: 8 * KiB },
      { windowBytes: 8 * KiB, responseWindowBytes: 8 * KiB },
    );
    const sizes = [1_000_000, 3, 100_000, 8 * KiB, 500_000, 0];
    const answers = await Promise.all(sizes.map((size, i) => client.request(pattern(size, i))));
    for (const [i, answer] of answers.entries()) expect(sameBytes(answer, pattern(sizes[i]!, i))).toBe(true);
  });

  if (transport.framing === 'plain') return;

  test('send() waits while the server does not read, in order, and trySend says false while anyone waits', async () => {
    const fixture = await serve(transport, { windowBytes: 16 * KiB });
    const client = await fixture.client();
    let accepted = 0;
    const sent = Array.from({ length: 100 }, async (_, i) => {
      await client.send(numbered(i, 1000));
      accepted++;
    });
    await eventually('the window is full', () => accepted > 0);
    const other = await fixture.client();
    await other.send(u32(0));
    expect(accepted).toBeLessThan(40);
    expect(client.trySend(u32(1000))).toBe(false);
    expect(client.stats.pending).toBeGreaterThan(0);
    const messages: number[] = [];
    fixture.server.messages$.subscribe(({ data }) => {
      if (data.byteLength > 4) messages.push(readU32(data));
    });
    await Promise.all(sent);
    await eventually('all came', () => messages.length === 100);
    expect(messages).toEqual([...Array(100).keys()]);
    await eventually('there is room again', () => client.trySend(u32(1000)));
  });

  test('what waits is sent in order, whatever it is', async () => {
    const seen: string[] = [];
    const fixture = await serve(transport, { windowBytes: 16 * KiB });
    const client = await fixture.client();
    const calls: Array<Promise<unknown>> = [];
    for (let i = 0; i < 60; i++) {
      const payload = numbered(i, 1500);
      calls.push(i % 3 === 0 ? client.send(payload) : i % 3 === 1 ? client.request(payload) : client.exchange(payload));
    }
    await eventually('some wait', () => !client.trySend(new Uint8Array(0)));
    fixture.server.messages$.subscribe(({ data }) => {
      if (data.byteLength > 0) seen.push(`${readU32(data)}`);
    });
    fixture.server.respond((_id, request) => {
      seen.push(`${readU32(request)}`);
      return u32(readU32(request));
    });
    for (const reply of await Promise.all(calls)) (reply as { release?: () => void } | undefined)?.release?.();
    await eventually('all came', () => seen.length === 60);
    // Requests stepped aside for messages while only those were read; each kind keeps its order.
    const numbers = seen.map(Number);
    expect(numbers.filter((i) => i % 3 === 0)).toEqual(Array.from({ length: 20 }, (_, i) => i * 3));
    expect(numbers.filter((i) => i % 3 !== 0)).toEqual([...Array(60).keys()].filter((i) => i % 3 !== 0));
  });

  test('replies that are held do not stop more than ten windows of other answers', async () => {
    const windowBytes = 32 * KiB;
    const { client } = await withClient(transport, echo, {}, { responseWindowBytes: windowBytes });
    const held = await Promise.all(Array.from({ length: 100 }, (_, i) => client.exchange(pattern(1000, i))));
    for (let i = 0; i < (10 * windowBytes) / 4000; i++) {
      expect(sameBytes(await client.request(pattern(4000, i)), pattern(4000, i))).toBe(true);
    }
    for (const [i, reply] of held.entries()) expect(sameBytes(reply.span, pattern(1000, i))).toBe(true);
    for (const reply of held.reverse()) reply.release();
  });

  test('a window that is full of requests does not stop answers and pushes to that client', async () => {
    const requests: IpcRequest[] = [];
    const fixture = await serve(transport, { windowBytes: 8 * KiB });
    fixture.server.requests$.subscribe((request) => requests.push(request));
    const client = await fixture.client();
    const pushes: string[] = [];
    client.messages$.subscribe((data) => pushes.push(textOf(data)));
    const answers = Array.from({ length: 20 }, (_, i) => client.request(numbered(i, 1000)));
    await eventually('the window is full', () => requests.length > 4 && !client.trySend(new Uint8Array(0)));
    const { clientId } = requests[0]!;
    expect(fixture.server.send(clientId, new TextEncoder().encode('push'))).toBe(true);
    await eventually('the push came', () => pushes.length === 1);
    for (let i = 0; i < 20; i++) {
      await eventually(`request ${i}`, () => requests.length > i);
      requests[i]!.respond(u32(i));
    }
    expect((await Promise.all(answers)).map((answer) => readU32(answer))).toEqual([...Array(20).keys()]);
  });

  test('a window that is never given back costs its own client only', async () => {
    const gate = deferred();
    const fixture = await serveWith(
      transport,
      async (_id, request) => {
        if (request.byteLength > 4) await gate.promise;
        return u32(readU32(request));
      },
      { windowBytes: 8 * KiB },
    );
    const blocked = await fixture.client();
    const pending = Array.from({ length: 50 }, (_, i) => blocked.request(numbered(i, 1000)));
    await eventually('it is blocked', () => !blocked.trySend(new Uint8Array(0)));
    const others = await Promise.all(Array.from({ length: 5 }, () => fixture.client()));
    await Promise.all(others.map((other) => converse(other, 100)));
    gate.resolve();
    await Promise.all(pending);
  });
}
