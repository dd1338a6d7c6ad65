/** Answers that are written where they leave from. */
import { expect, test } from 'vitest';
import type { Bytes, HandlerOutput, IpcRequest, ResponseClaim } from '../contract.ts';
import { MessageTooLargeError, RemoteError, SpanReleasedError } from '../errors.ts';
import { deferred, eventually, failureOf } from './eventually.ts';
import { serve, withClient } from './fixture.ts';
import { pattern, readU32, sameBytes, u32 } from './payloads.ts';
import type { TransportUnderTest } from './transport-under-test.ts';

const KiB = 1024;

/** A claim where there is room for it. */
export function answerOf(request: IpcRequest, payload: Uint8Array): ResponseClaim {
  const claim = request.claim(payload.length);
  if (claim === undefined) throw new Error('Expected room for a claim');
  claim.span.set(payload);
  return claim;
}

export function describeResponseClaims(transport: TransportUnderTest): void {
  test('a published claim is the answer, at any size, and releases the request', async () => {
    const fixture = await serve(transport, { windowBytes: 64 * KiB, responseWindowBytes: 64 * KiB });
    fixture.server.requests$.subscribe((request) => {
      const claim = answerOf(request, pattern(readU32(request.span), 5));
      expect(claim.publish()).toBe(true);
      expect(() => request.span).toThrow(SpanReleasedError);
      expect(() => claim.span).toThrow(SpanReleasedError);
      expect(() => claim.publish()).toThrow(TypeError);
      claim.abort();
      expect(request.respond(u32(1))).toBe(false);
    });
    const client = await fixture.client({ responseWindowBytes: 64 * KiB });
    const sizes = [0, 1, 7, 8, 100, 16 * KiB - 100, 16 * KiB, 40_000, 200_000];
    for (const size of sizes) {
      expect(sameBytes(await client.request(u32(size)), pattern(size, 5))).toBe(true);
    }
    await eventually('all are through', () => fixture.server.stats.openRequests === 0);
    expect(fixture.server.stats).toMatchObject({
      requests: sizes.length,
      responses: sizes.length,
      droppedAnswers: sizes.length,
      bytesOut: sizes.reduce((sum, size) => sum + size, 0),
    });
  });

  test('a handler returns the span of its claim, at once or later, and that is one answer', async () => {
    const answer = async (request: Bytes, info: IpcRequest): Promise<Bytes> => {
      const claim = answerOf(info, pattern(readU32(request), 1));
      await Promise.resolve();
      return claim.span;
    };
    const { client, server } = await withClient(transport, (_clientId, request, info) =>
      readU32(request) % 2 === 0 ? answerOf(info, pattern(readU32(request), 1)).span : answer(request, info),
    );
    for (let size = 4; size < 2000; size += 111) {
      expect(sameBytes(await client.request(u32(size)), pattern(size, 1))).toBe(true);
    }
    expect(server.stats).toMatchObject({ openRequests: 0, droppedAnswers: 0 });
  });

  test('a part of a claim may be the answer', async () => {
    const { client } = await withClient(transport, (_clientId, request, info) =>
      answerOf(info, pattern(1000, 3)).span.subarray(10, readU32(request)),
    );
    for (const end of [1000, 10, 500]) {
      expect(sameBytes(await client.request(u32(end)), pattern(1000, 3).subarray(10, end))).toBe(true);
    }
  });

  test('an aborted claim leaves the request to be answered otherwise', async () => {
    const { client, server } = await withClient(transport, (_clientId, request, info) => {
      const claim = answerOf(info, pattern(1000));
      claim.abort();
      expect(() => claim.span).toThrow(SpanReleasedError);
      return request;
    });
    for (let i = 0; i < 50; i++) expect(readU32(await client.request(u32(i)))).toBe(i);
    expect(server.stats).toMatchObject({ responses: 50, droppedAnswers: 0 });
  });

  test('an answer of another kind ends the claim: bytes, nothing, or an error', async () => {
    const claims: ResponseClaim[] = [];
    const { client, server } = await withClient(transport, (_clientId, request, info): HandlerOutput => {
      const claim = answerOf(info, pattern(1000));
      claims.push(claim);
      return request;
    });
    for (let i = 0; i < 10; i++) expect(readU32(await client.request(u32(i)))).toBe(i);
    expect(server.stats).toMatchObject({ responses: 10, droppedAnswers: 0 });
    for (const claim of claims) {
      expect(() => claim.span).toThrow(SpanReleasedError);
      expect(claim.publish()).toBe(false);
    }
    expect(server.stats).toMatchObject({ responses: 10, droppedAnswers: 10 });
  });

  test('two requests of one client: while one is written in place the other finds no room, and both are answered', async () => {
    const held: IpcRequest[] = [];
    const fixture = await serve(transport);
    fixture.server.requests$.subscribe((request) => held.push(request));
    const client = await fixture.client();
    const answers = [client.request(u32(0)), client.request(u32(1))];
    await eventually('both are there', () => held.length === 2);
    const [first, second] = held as [IpcRequest, IpcRequest];
    const claim = answerOf(first, pattern(500, 1));
    expect(() => first.claim(4)).toThrow(/one open claim of a request/);
    expect(second.claim(4)).toBeUndefined();
    expect(second.respond(pattern(300, 2))).toBe(true);
    expect(claim.publish()).toBe(true);
    expect(sameBytes(await answers[0]!, pattern(500, 1))).toBe(true);
    expect(sameBytes(await answers[1]!, pattern(300, 2))).toBe(true);
  });

  test('answers to others leave while a claim is open', async () => {
    const held: IpcRequest[] = [];
    const fixture = await serve(transport);
    fixture.server.requests$.subscribe((request) => {
      if (request.span.length === 4) request.respond(request.span);
      else held.push(request);
    });
    const [client, other] = [await fixture.client(), await fixture.client()];
    const answer = client.request(pattern(100));
    await eventually('it is there', () => held.length === 1);
    const claim = answerOf(held[0]!, pattern(500, 1));
    for (let i = 0; i < 20; i++) expect(readU32(await other.request(u32(i)))).toBe(i);
    claim.publish();
    expect(sameBytes(await answer, pattern(500, 1))).toBe(true);
  });

  test('sizes that are none throw, and so does one beyond the limit of both sides', async () => {
    const wrong: unknown[] = [];
    const { client } = await withClient(
      transport,
      (_clientId, request, info) => {
        for (const size of [-1, 0.5, 2 ** 30, '4', undefined, null, 5001]) {
          try {
            info.claim(size as number);
          } catch (error) {
            wrong.push(error);
          }
        }
        return request;
      },
      { maxMessageBytes: 5000 },
    );
    expect(readU32(await client.request(u32(1)))).toBe(1);
    expect(wrong.map((error) => (error as Error).constructor)).toEqual([
      RangeError,
      RangeError,
      RangeError,
      TypeError,
      TypeError,
      TypeError,
      MessageTooLargeError,
    ]);
  });

  test('nobody waits for the answer any more: there is no room for it', async () => {
    const held: IpcRequest[] = [];
    const fixture = await serve(transport);
    fixture.server.requests$.subscribe((request) => held.push(request));
    const client = await fixture.client();
    const answered = client.request(u32(0));
    const open = failureOf(client.request(u32(1)));
    await eventually('both are there', () => held.length === 2);
    held[0]!.respond(u32(0));
    expect(held[0]!.claim(4)).toBeUndefined();
    await answered;
    await client.close();
    await open;
    await eventually('the client is gone', () => fixture.disconnects().length === 1);
    expect(held[1]!.claim(4)).toBeUndefined();
  });

  test('a claim that is open when the client leaves is published to nobody', async () => {
    const held: IpcRequest[] = [];
    const fixture = await serve(transport);
    fixture.server.requests$.subscribe((request) => held.push(request));
    const client = await fixture.client();
    const call = failureOf(client.request(u32(1)));
    await eventually('it is there', () => held.length === 1);
    const claim = answerOf(held[0]!, pattern(100));
    const { span } = claim;
    await client.close();
    await call;
    await eventually('the client is gone', () => fixture.disconnects().length === 1);
    // Whoever still has the view writes into nobody's bytes.
    for (let i = 0; i < span.length; i++) span[i] = 1;
    expect(claim.publish()).toBe(false);
    expect(fixture.server.stats.droppedAnswers).toBe(1);
  });

  test('a server closes although a claim is open', async () => {
    const entered = deferred();
    const { client, server } = await withClient(
      transport,
      (_clientId, _request, info) => {
        answerOf(info, pattern(100));
        entered.resolve();
        return new Promise(() => undefined);
      },
      { graceMs: 2 ** 31 - 1 },
    );
    const call = failureOf(client.request(u32(1)));
    await entered.promise;
    await server.close();
    expect(await call).toMatchObject({ code: expect.stringMatching(/ERR_IPC_(CLOSED|PEER_GONE)/) });
  });

  if (transport.framing === 'plain') return;

  test('a handler that throws while its claim is open costs that request, and no other', async () => {
    const { client } = await withClient(transport, (_clientId, request, info) => {
      answerOf(info, pattern(1000));
      if (readU32(request) % 2 === 0) throw new Error('cannot render');
      return request;
    });
    for (let i = 0; i < 20; i++) {
      const call = client.request(u32(i));
      if (i % 2 === 1) expect(readU32(await call)).toBe(i);
      else expect(await failureOf(call)).toBeInstanceOf(RemoteError);
    }
  });
}
