/** What a client bounds and refuses by itself: timeouts, pending calls, mistakes, calls without a connection. */
import { expect, test } from 'vitest';
import type { Bytes } from '../contract.ts';
import { TimeoutError } from '../errors.ts';
import { deferred, eventually, expectCode, standsStill } from './eventually.ts';
import { echo, serveWith, withClient } from './fixture.ts';
import { bytesOf, pattern, readU32, sameBytes, textOf, u32 } from './payloads.ts';
import type { TransportUnderTest } from './transport-under-test.ts';

export function describeCalls(transport: TransportUnderTest): void {
  test('a request that was given up does not disturb the others', async () => {
    const gate = deferred();
    const fixture = await serveWith(transport, async (_id, request) => {
      const copy = request.slice();
      if (textOf(copy) === 'slow') await gate.promise;
      return copy;
    });
    const client = await fixture.client();
    const controller = new AbortController();
    const slow = client.request(bytesOf('slow'), { signal: controller.signal });
    await eventually('the slow request runs', () => fixture.server.stats.openRequests === 1);
    controller.abort(new Error('enough'));
    await expect(slow).rejects.toThrow('enough');
    gate.resolve();
    for (const text of ['a', 'b', 'c']) expect(textOf(await client.request(bytesOf(text)))).toBe(text);
  });

  test('a request longer than its timeoutMs rejects with a TimeoutError', async () => {
    const gate = deferred();
    const { client } = await withClient(transport, async (_id, request) => {
      const copy = request.slice();
      if (textOf(copy) === 'slow') await gate.promise;
      return copy;
    });
    const late = client.request(bytesOf('slow'), { timeoutMs: 20 });
    await expect(late).rejects.toBeInstanceOf(TimeoutError);
    await expect(late).rejects.toMatchObject({ code: 'ERR_IPC_TIMEOUT', timeoutMs: 20 });
    gate.resolve();
    expect(textOf(await client.request(bytesOf('next')))).toBe('next');
  });

  test('a request with a timeout arrives with its bytes unchanged', async () => {
    const { client } = await withClient(transport, echo);
    for (const size of [0, 1, 100, 20_000]) {
      const answer = await client.request(pattern(size), { timeoutMs: 30_000 });
      expect(sameBytes(answer, pattern(size))).toBe(true);
    }
  });

  test('a signal that has aborted already means that nothing is sent', async () => {
    const { client, fixture } = await withClient(transport, echo);
    const reason = new Error('never mind');
    await expect(client.request(bytesOf('x'), { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
    await client.request(bytesOf('y'));
    expect(fixture.server.stats.requests).toBe(1);
  });

  test('waits longer than the 4.3 seconds of a 32-bit nanosecond counter are as long as asked', async () => {
    const waitMs = 5200;
    const gate = deferred();
    const { client } = await withClient(transport, async (_id, request) => {
      await gate.promise;
      return request;
    });
    const startedMs = performance.now();
    const answered = client.request(bytesOf('patience'));
    await expectCode(client.request(bytesOf('late'), { timeoutMs: waitMs }), 'ERR_IPC_TIMEOUT');
    // Timers may fire a little early: up to a millisecond is lost where times are rounded.
    expect(performance.now() - startedMs).toBeGreaterThanOrEqual(waitMs - 5);
    gate.resolve();
    expect(textOf(await answered)).toBe('patience');
  });

  test('an exchange gives a reply that is borrowed until its release', async () => {
    const { client } = await withClient(transport, echo);
    const reply = await client.exchange(pattern(500));
    expect(sameBytes(reply.span, pattern(500))).toBe(true);
    reply.release();
    reply.release();
    expect(() => reply.span).toThrow(expect.objectContaining({ name: 'SpanReleasedError' }));
  });

  test('replies that are held are copies beyond half of the window, so that others go on', async () => {
    const { client } = await withClient(transport, echo, {}, { responseWindowBytes: 16 * 1024 });
    const held = await Promise.all(Array.from({ length: 64 }, (_, i) => client.exchange(pattern(1024, i))));
    for (const [i, reply] of held.entries()) expect(sameBytes(reply.span, pattern(1024, i))).toBe(true);
    for (const reply of held) reply.release();
    for (let i = 0; i < 64; i++) expect(sameBytes(await client.request(pattern(1024, i)), pattern(1024, i))).toBe(true);
  });

  test('a reply that is held keeps its bytes while many windows of answers come after it', async () => {
    const small = { responseWindowBytes: 8 * 1024, maxInFlight: 1024 };
    const { fixture, client } = await withClient(transport, echo, small, small);
    const other = await fixture.client(small);
    const held = await client.exchange(pattern(64, 1));
    let answered = 0;
    const answers = Array.from({ length: 500 }, async (_, i) => {
      const answer = await client.request(pattern(64, i));
      answered++;
      expect(sameBytes(answer, pattern(64, i))).toBe(true);
    });
    await standsStill(
      () => answered,
      async () => {
        for (let i = 0; i < 50; i++) await other.request(u32(i));
      },
    );
    expect(answered).toBeGreaterThan(0);
    expect(sameBytes(held.span, pattern(64, 1))).toBe(true);
    held.release();
    await Promise.all(answers);
  });

  test('calls before connect() and after close() reject with ERR_IPC_CLOSED', async () => {
    const fixture = await serveWith(transport, echo);
    const client = fixture.idle();
    await expectCode(client.request(bytesOf('x')), 'ERR_IPC_CLOSED');
    await client.connect();
    await client.request(bytesOf('x'));
    await client.close();
    await expectCode(client.request(bytesOf('x')), 'ERR_IPC_CLOSED');
    await expectCode(client.exchange(bytesOf('x')), 'ERR_IPC_CLOSED');
    await expectCode(client.connect(), 'ERR_IPC_CLOSED');
  });

  test('calls while the client connects wait for the connection, in order', async () => {
    const seen: string[] = [];
    const fixture = await serveWith(transport, (_id, request) => {
      seen.push(textOf(request));
      return request;
    });
    const client = fixture.idle();
    const connecting = client.connect();
    await Promise.all(['a', 'b', 'c'].map((text) => client.request(bytesOf(text))));
    await connecting;
    expect(seen).toEqual(['a', 'b', 'c']);
  });

  test('connect() rejects with ERR_IPC_PEER_GONE where nobody listens, and may be tried again', async () => {
    const fixture = await serveWith(transport, echo);
    await fixture.server.close();
    const client = fixture.idle();
    await expectCode(client.connect(), 'ERR_IPC_PEER_GONE');
    const second = fixture.another();
    await second.listen();
    second.respond(echo);
    await client.connect();
    expect(textOf(await client.request(bytesOf('again')))).toBe('again');
  });

  test('beyond maxPending a request rejects with ERR_IPC_OVERLOADED, until others have settled', async () => {
    const gate = deferred();
    const fixture = await serveWith(transport, async (_id, request) => {
      await gate.promise;
      return request;
    });
    const client = await fixture.client({ maxPending: 3 });
    const pending = [client.request(u32(1)), client.request(u32(2)), client.exchange(u32(3))];
    await expectCode(client.request(u32(4)), 'ERR_IPC_OVERLOADED');
    expect(client.stats.pending).toBe(3);
    gate.resolve();
    await Promise.all(pending);
    expect(readU32(await client.request(u32(5)))).toBe(5);
    expect(client.stats.pending).toBe(0);
  });

  test('mistakes of the caller reject with a TypeError or a RangeError that says expected and got', async () => {
    const { client } = await withClient(transport, echo);
    const bad: unknown = 'text';
    await expect(client.request(bad as Bytes)).rejects.toThrow(/Expected `data` to be a Uint8Array, got "text"/);
    await expect(client.exchange(bad as Bytes)).rejects.toBeInstanceOf(TypeError);
    await expect(client.request(u32(1), { timeoutMs: -1 })).rejects.toBeInstanceOf(RangeError);
    await expect(client.request(u32(1), { timeoutMs: Number.NaN })).rejects.toBeInstanceOf(RangeError);
    await expect(client.request(u32(1), { timeoutMs: 2 ** 31 })).rejects.toBeInstanceOf(RangeError);
    expect(readU32(await client.request(u32(1)))).toBe(1);
  });
}
