/** Requests that are written where they leave from. */
import { expect, test } from 'vitest';
import type { Bytes, IpcClient, RequestClaim } from '../contract.ts';
import { MessageTooLargeError, SpanReleasedError } from '../errors.ts';
import { deferred, eventually, expectCode, failureOf, stopTime, turn } from './eventually.ts';
import { echo, serve, serveWith, stateOf, withClient } from './fixture.ts';
import { pattern, readU32, sameBytes, u32 } from './payloads.ts';
import type { TransportUnderTest } from './transport-under-test.ts';

const KiB = 1024;

/** A claim where there is room for it. */
export function claimOf(client: IpcClient, payload: Uint8Array): RequestClaim {
  const claim = client.claim(payload.length);
  if (claim === undefined) throw new Error('Expected room for a claim');
  claim.span.set(payload);
  return claim;
}

export function describeClaims(transport: TransportUnderTest): void {
  test('what is written into a claim is the request, and publishing gives its answer, at any size', async () => {
    const { client, server } = await withClient(transport, echo, {
      windowBytes: 64 * KiB,
      responseWindowBytes: 64 * KiB,
    });
    for (const size of [0, 1, 7, 8, 100, 16 * KiB - 100, 16 * KiB, 40_000, 200_000]) {
      const payload = pattern(size, size);
      const claim = claimOf(client, payload);
      expect(claim.span.length).toBe(size);
      const answer = await claim.publish();
      expect(sameBytes(answer, payload)).toBe(true);
    }
    expect(server.stats).toMatchObject({ requests: 9, responses: 9, droppedAnswers: 0 });
    expect(client.stats.pending).toBe(0);
  });

  test('the bytes of a claim are the same at every look until it is published, and may be read as words', async () => {
    const { client } = await withClient(transport, echo);
    const claim = claimOf(client, pattern(64));
    expect(claim.span).toBe(claim.span);
    const { buffer, byteOffset } = claim.span;
    const words = new Float64Array(buffer, byteOffset, 8);
    words[7] = Math.PI;
    const answer = await claim.publish();
    expect(new Float64Array(answer.slice().buffer)[7]).toBe(Math.PI);
  });

  test('an aborted claim sends nothing, and its room is there for the next', async () => {
    const { client, server } = await withClient(transport, echo, { windowBytes: 8 * KiB });
    for (let i = 0; i < 50; i++) claimOf(client, pattern(2000, i)).abort();
    expect(readU32(await client.request(u32(7)))).toBe(7);
    expect(readU32(await claimOf(client, u32(8)).publish())).toBe(8);
    expect(server.stats.requests).toBe(2);
    expect(client.stats.pending).toBe(0);
  });

  test('a claim that is over has no span, is not published again, and may be aborted in a finally', async () => {
    const { client, server } = await withClient(transport, echo);
    const published = claimOf(client, u32(1));
    const answer = published.publish();
    const aborted = claimOf(client, u32(2));
    aborted.abort();
    for (const claim of [published, aborted]) {
      expect(() => claim.span).toThrow(SpanReleasedError);
      await expect(claim.publish()).rejects.toThrow(TypeError);
      claim.abort();
    }
    expect(readU32(await answer)).toBe(1);
    expect(server.stats.requests).toBe(1);
  });

  test('one claim of a client is open at a time', async () => {
    const { client } = await withClient(transport, echo);
    const first = claimOf(client, u32(1));
    expect(() => client.claim(4)).toThrow(/one open claim at a time/);
    expect(readU32(await first.publish())).toBe(1);
    expect(readU32(await claimOf(client, u32(2)).publish())).toBe(2);
  });

  test('requests made while a claim is open disturb it in nothing, and are answered', async () => {
    const { client } = await withClient(transport, echo, { windowBytes: 8 * KiB, responseWindowBytes: 8 * KiB });
    for (let round = 0; round < 20; round++) {
      const payload = pattern(1000, round);
      const claim = client.claim(payload.length)!;
      claim.span.set(payload.subarray(0, 500));
      const others = Array.from({ length: 20 }, (_, i) => pattern(i * 200, 100 * round + i));
      const answers = others.map((other) => client.request(other));
      await new Promise((resolve) => setImmediate(resolve));
      claim.span.set(payload.subarray(500), 500);
      const answer = round % 4 === 3 ? undefined : claim.publish();
      claim.abort();
      for (const [i, other] of others.entries()) expect(sameBytes(await answers[i]!, other)).toBe(true);
      if (answer !== undefined) expect(sameBytes(await answer, payload)).toBe(true);
    }
  });

  test('sizes that are none throw, and so does one beyond the limit of both sides', async () => {
    const { client } = await withClient(transport, echo, { maxMessageBytes: 10_000 }, { maxMessageBytes: 10_000 });
    expect(() => client.claim(-1)).toThrow(RangeError);
    expect(() => client.claim(1.5)).toThrow(RangeError);
    expect(() => client.claim(2 ** 30)).toThrow(RangeError);
    for (const size of ['4', undefined, null]) expect(() => client.claim(size as unknown as number)).toThrow(TypeError);
    expect(() => client.claim(4, { timeoutMs: -1 })).toThrow(RangeError);
    expect(() => client.claim(10_001)).toThrow(MessageTooLargeError);
    expect(sameBytes(await claimOf(client, pattern(10_000)).publish(), pattern(10_000))).toBe(true);
  });

  test('a client that is not connected has no room', async () => {
    const fixture = await serveWith(transport, echo);
    const client = fixture.idle();
    expect(client.claim(4)).toBeUndefined();
    await client.connect();
    expect(readU32(await claimOf(client, u32(1)).publish())).toBe(1);
    await client.close();
    expect(client.claim(4)).toBeUndefined();
  });

  test('a signal ends a claim with its reason, before it is opened, before it is published, and after', async () => {
    const gate = deferred<Bytes>();
    const { client, server } = await withClient(transport, () => gate.promise);
    const reason = new Error('enough');
    expect(() => client.claim(4, { signal: AbortSignal.abort(reason) })).toThrow(reason);
    const early = new AbortController();
    const unpublished = client.claim(4, { signal: early.signal })!;
    early.abort(reason);
    expect(await failureOf(unpublished.publish())).toBe(reason);
    expect(server.stats.requests).toBe(0);
    const late = new AbortController();
    const answer = failureOf(client.claim(4, { signal: late.signal })!.publish());
    await eventually('the request is there', () => server.stats.requests === 1);
    late.abort(reason);
    expect(await answer).toBe(reason);
    gate.resolve(u32(0));
    await eventually('nothing is pending', () => client.stats.pending === 0);
  });

  test('the timeout of a claim counts from its publishing', async () => {
    const gate = deferred<Bytes>();
    const { client, server } = await withClient(transport, (_clientId, request) =>
      readU32(request) === 1 ? request : gate.promise,
    );
    const { passTime } = stopTime();
    const claim = client.claim(4, { timeoutMs: 1000 })!;
    passTime(5000);
    claim.span.set(u32(1));
    expect(readU32(await claim.publish())).toBe(1);
    const late = client.claim(4, { timeoutMs: 1000 })!;
    passTime(5000);
    late.span.set(u32(2));
    let failure: unknown;
    const failed = failureOf(late.publish()).then((error) => (failure = error));
    await eventually('the request is there', () => server.stats.requests === 2);
    passTime(999);
    await turn();
    expect(failure).toBeUndefined();
    passTime(1);
    expect(await failed).toMatchObject({ code: 'ERR_IPC_TIMEOUT' });
    gate.resolve(u32(2));
    await eventually('nothing is pending', () => client.stats.pending === 0);
  });

  test('with maxPending calls there is no room, and publishing one too many fails as a request does', async () => {
    const gate = deferred<Bytes>();
    const { client } = await withClient(transport, () => gate.promise, {}, { maxPending: 2 });
    const first = client.request(u32(1));
    const claim = claimOf(client, u32(2));
    const second = client.request(u32(3));
    await expectCode(claim.publish(), 'ERR_IPC_OVERLOADED');
    expect(client.claim(4)).toBeUndefined();
    gate.resolve(u32(9));
    expect((await Promise.all([first, second])).map((answer) => readU32(answer))).toEqual([9, 9]);
    expect(readU32(await claimOf(client, u32(4)).publish())).toBe(9);
  });

  test('while others wait for room there is none for a claim, and there is again when they are through', async () => {
    const fixture = await serve(transport, { windowBytes: 64 * KiB, responseWindowBytes: 64 * KiB });
    const client = await fixture.client({ maxPending: 100_000 });
    const answers: Array<Promise<Bytes>> = [];
    await eventually('no room', () => {
      for (let i = 0; i < 100; i++) answers.push(client.request(pattern(8 * KiB, i)));
      const claim = client.claim(1000);
      claim?.abort();
      return claim === undefined;
    });
    fixture.server.respond((_clientId, request) => request.slice(0, 4));
    await Promise.all(answers);
    expect(readU32(await claimOf(client, u32(5)).publish())).toBe(readU32(u32(5)));
  });

  test('a claim that is open when the client closes is published nowhere, and says so', async () => {
    const { client, server } = await withClient(transport, echo);
    const claim = claimOf(client, u32(1));
    const { span } = claim;
    const closed = client.close();
    const publishing = expectCode(claim.publish(), 'ERR_IPC_CLOSED');
    await closed;
    await publishing;
    // Whoever still has the view writes into nobody's bytes.
    for (let i = 0; i < span.length; i++) span[i] = 1;
    expect(() => claim.span).toThrow(SpanReleasedError);
    expect(server.stats.requests).toBe(0);
  });

  test('a claim that is open when the server closes is published nowhere, and says so', async () => {
    const { client, server } = await withClient(transport, echo);
    const claim = claimOf(client, u32(1));
    await server.close();
    await eventually('the client knows', () => stateOf(client) === 'closed');
    await expectCode(claim.publish(), 'ERR_IPC_PEER_GONE');
    claim.abort();
    expect(server.stats.requests).toBe(0);
  });
}
