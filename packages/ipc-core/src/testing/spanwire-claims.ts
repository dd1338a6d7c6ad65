/** Claims together with what only Spanwire's framing has: cancels, metadata, streams, pushes, goaway. */
import { lastValueFrom, toArray } from 'rxjs';
import { expect, test } from 'vitest';
import type { Bytes, IpcRequest, ResponseClaim } from '../contract.ts';
import { claimOf } from './claims.ts';
import { deferred, eventually, failureOf, turn } from './eventually.ts';
import { echo, listenWhenFree, serve, stateOf, withClient } from './fixture.ts';
import { pattern, readU32, sameBytes, u32 } from './payloads.ts';
import { answerOf } from './response-claims.ts';
import type { TransportUnderTest } from './transport-under-test.ts';

const KiB = 1024;

export function describeSpanwireClaims(transport: TransportUnderTest): void {
  test('metadata and the deadline travel with a claim, as they were when it was opened', async () => {
    const seen: Array<readonly [ReadonlyMap<string, string> | undefined, number | undefined]> = [];
    const { client } = await withClient(transport, (_clientId, request, info) => {
      seen.push([info.metadata, info.deadlineMs]);
      return request;
    });
    const metadata = new Map([['key', 'a value']]);
    for (const size of [0, 5, 1000, 500_000]) {
      const payload = pattern(size, size);
      const claim = client.claim(size, { metadata, timeoutMs: 1_000_000 })!;
      metadata.set('key', 'another, longer value');
      claim.span.set(payload);
      expect(sameBytes(await claim.publish(), payload)).toBe(true);
      expect(seen.at(-1)?.[0]).toEqual(new Map([['key', 'a value']]));
      expect(seen.at(-1)?.[1]).toBeGreaterThan(900_000);
      metadata.set('key', 'a value');
    }
    expect(() => client.claim(4, { metadata: new Map([['key', 'x'.repeat(2000)]]) })).toThrow(RangeError);
    const plain = client.claim(4, { metadata: new Map() })!;
    plain.span.set(u32(3));
    expect(readU32(await plain.publish())).toBe(3);
  });

  test('one-way messages made while a claim is open wait or are refused, and arrive whole', async () => {
    const fixture = await serve(transport, { windowBytes: 8 * KiB });
    const came: Bytes[] = [];
    fixture.server.messages$.subscribe(({ data }) => came.push(data));
    fixture.server.respond(echo);
    const client = await fixture.client();
    let taken = 0;
    for (let round = 0; round < 20; round++) {
      const claim = client.claim(500)!;
      const sending = client.send(pattern(700, 1));
      if (client.trySend(pattern(700, 1))) taken++;
      claim.span.set(pattern(500, round));
      const answer = claim.publish();
      await sending;
      expect(sameBytes(await answer, pattern(500, round))).toBe(true);
    }
    await eventually('all came', () => came.length === 20 + taken);
    expect(came.every((data) => sameBytes(data, pattern(700, 1)))).toBe(true);
  });

  test('pushes made while a claim is open are refused or arrive whole', async () => {
    let taken = 0;
    const { client, server } = await withClient(transport, (clientId, _request, info) => {
      const claim = answerOf(info, pattern(500, 1));
      for (let i = 0; i < 3; i++) if (server.send(clientId, pattern(300, 2))) taken++;
      return claim.span;
    });
    const came: Bytes[] = [];
    client.messages$.subscribe((data) => came.push(data));
    for (let i = 0; i < 20; i++) expect(sameBytes(await client.request(u32(i)), pattern(500, 1))).toBe(true);
    expect(server.stats.droppedPushes).toBe(60 - taken);
    expect(server.broadcast(pattern(300, 2))).toBe(1);
    await eventually('all came', () => came.length === taken + 1);
    expect(came.every((data) => sameBytes(data, pattern(300, 2)))).toBe(true);
  });

  test('a request that is cancelled while its answer is written: what is written still goes to nobody else', async () => {
    const held: IpcRequest[] = [];
    // The handler has not looked at its signal yet.
    let write: (() => void) | undefined;
    const fixture = await serve(transport);
    fixture.server.requests$.subscribe((request) => {
      if (request.span.length !== 4) {
        held.push(request);
        return;
      }
      request.respond(request.span);
      // Whatever went out just now has not been read.
      write?.();
    });
    const client = await fixture.client();
    for (const ending of ['publish', 'abort', 'respond', 'release and respond'] as const) {
      const controller = new AbortController();
      const call = failureOf(client.request(pattern(100), { signal: controller.signal }));
      await eventually('it is there', () => held.length === 1);
      const request = held.pop()!;
      const { span } = request;
      expect(span.length).toBe(100);
      const claim: ResponseClaim = answerOf(request, pattern(2000, 1));
      const view = claim.span;
      if (ending === 'release and respond') request.release();
      const { droppedAnswers } = fixture.server.stats;
      controller.abort(new Error('enough'));
      expect(await call).toMatchObject({ message: 'enough' });
      await eventually('the server knows', () => request.signal.aborted);
      const others = Array.from({ length: 10 }, (_, i) => client.request(u32(i)));
      write = () => view.fill(0xee);
      await turn();
      write();
      await turn();
      write = undefined;
      if (ending === 'publish') expect(claim.publish()).toBe(false);
      else if (ending === 'abort') claim.abort();
      else expect(request.respond(view)).toBe(false);
      if (ending !== 'abort') expect(fixture.server.stats.droppedAnswers).toBe(droppedAnswers + 1);
      expect((await Promise.all(others)).map((answer) => readU32(answer))).toEqual([...Array(10).keys()]);
      request.release();
      await eventually('nothing is open', () => fixture.server.stats.openRequests === 0);
      await eventually('nothing is pending', () => client.stats.pending === 0);
    }
  });

  test('a request for a stream answered by a claim has one item', async () => {
    const { client } = await withClient(transport, (_clientId, _request, info) => answerOf(info, pattern(100, 1)).span);
    const items = await lastValueFrom(client.request$(u32(1)).pipe(toArray()));
    expect(items.map((item) => sameBytes(item, pattern(100, 1)))).toEqual([true]);
  });

  test('a stream as the answer ends the claim', async () => {
    const { client } = await withClient(transport, (_clientId, _request, info) => {
      answerOf(info, pattern(100));
      return (async function* () {
        for (let i = 0; i < 5; i++) yield u32(i);
      })();
    });
    for (let i = 0; i < 3; i++) {
      const items = await lastValueFrom(client.request$(u32(1)).pipe(toArray()));
      expect(items.map((item) => readU32(item))).toEqual([0, 1, 2, 3, 4]);
    }
  });

  test('a claim that is open at goaway is sent to the next server', async () => {
    const gate = deferred<Bytes>();
    const fixture = await serve(transport);
    fixture.server.respond(() => gate.promise);
    const client = await fixture.client({ reconnect: { delaysMs: [1] } });
    const running = client.request(u32(1));
    await eventually('it runs', () => fixture.server.stats.requests === 1);
    const claim = claimOf(client, pattern(3000, 4));
    fixture.server.requestShutdown({ graceMs: 2 ** 31 - 1 });
    await eventually('the client leaves', () => stateOf(client) === 'reconnecting');
    const next = fixture.another();
    await listenWhenFree(next);
    next.respond(echo);
    await eventually('the client is back', () => stateOf(client) === 'connected');
    expect(sameBytes(await claim.publish(), pattern(3000, 4))).toBe(true);
    expect(next.stats.requests).toBe(1);
    gate.resolve(u32(2));
    expect(readU32(await running)).toBe(2);
    expect(fixture.server.stats.requests).toBe(1);
  });

  for (const seed of [1, 2]) {
    test(`claims of both sides among other calls, through the smallest windows: every byte is right (seed ${seed})`, async () => {
      let state = seed;
      const below = (bound: number): number => {
        state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
        return Math.floor((state / 2 ** 32) * bound);
      };
      const small = { windowBytes: 8 * KiB, responseWindowBytes: 8 * KiB };
      const { client, server } = await withClient(
        transport,
        async (_clientId, request, info) => {
          const payload = new Uint8Array(request);
          if (below(3) === 0) await turn();
          const claim = below(2) === 0 ? info.claim(payload.length) : undefined;
          if (claim === undefined) return payload;
          claim.span.set(payload);
          if (below(3) === 0) await turn();
          if (info.signal.aborted || below(5) > 0) return claim.span;
          claim.abort();
          return payload;
        },
        { ...small, maxInFlight: 8 },
        small,
      );
      let wrong = 0;
      let claimed = 0;
      let writing = false;
      const worker = async (first: number): Promise<void> => {
        for (let i = first; i < first + 100; i++) {
          const payload = pattern(below(8) === 0 ? below(20_000) : below(1500), i);
          const controller = new AbortController();
          const options =
            below(4) === 0 ? { signal: controller.signal } : below(4) === 0 ? { timeoutMs: 1e6 } : undefined;
          if (options?.signal !== undefined) setImmediate(() => controller.abort());
          const claim = writing ? undefined : client.claim(payload.length, options);
          try {
            if (claim === undefined) {
              if (!sameBytes(await client.request(payload, options), payload)) wrong++;
              continue;
            }
            claimed++;
            writing = true;
            if (below(3) === 0) await turn();
            claim.span.set(payload);
            writing = false;
            if (below(5) > 0 && !sameBytes(await claim.publish(), payload)) wrong++;
          } catch (error) {
            if ((error as Error).name !== 'AbortError') throw error;
          } finally {
            claim?.abort();
          }
        }
      };
      await Promise.all(Array.from({ length: 6 }, (_, i) => worker(i * 1000)));
      expect(wrong).toBe(0);
      expect(claimed).toBeGreaterThan(10);
      await eventually('nothing is pending', () => client.stats.pending === 0);
      await eventually('nothing is open', () => server.stats.openRequests === 0);
      expect(sameBytes(await claimOf(client, pattern(2000)).publish(), pattern(2000))).toBe(true);
    });
  }
}
