/** Requests and their answers, seen from the client. */
import { promisify } from 'node:util';
import { deflateRaw, inflateRawSync } from 'node:zlib';
import { map } from 'rxjs';
import { expect, test } from 'vitest';
import type { Bytes, IpcRequest } from '../contract.ts';
import { eventually, turn } from './eventually.ts';
import { echo, serve, serveWith, withClient } from './fixture.ts';
import { bytesOf, pattern, readU32, sameBytes, textOf, u32 } from './payloads.ts';
import type { TransportUnderTest } from './transport-under-test.ts';

/** Reads its input on another thread, after the call has returned. */
const deflate = promisify(deflateRaw);

export function describeRequests(transport: TransportUnderTest): void {
  test('a request resolves with the answer of the handler', async () => {
    const { client } = await withClient(transport, (_id, request) => bytesOf(textOf(request).toUpperCase()));
    expect(textOf(await client.request(bytesOf('hello')))).toBe('HELLO');
  });

  test('requests$, map and the sink are a complete server', async () => {
    const fixture = await serve(transport);
    fixture.server.requests$
      .pipe(map((request) => ({ ...request, data: request.span })))
      .subscribe(fixture.server.responses);
    const client = await fixture.client();
    for (let i = 0; i < 300; i++) expect(await client.request(pattern(100, i))).toEqual(pattern(100, i));
    expect(fixture.server.stats).toMatchObject({ clients: 1, openRequests: 0, requests: 300, responses: 300 });
  });

  test('an answer may be a part of the span of its request', async () => {
    const { client } = await withClient(transport, (_id, request) => request.subarray(3, 7));
    const payload = pattern(64);
    expect(await client.request(payload)).toEqual(payload.slice(3, 7));
  });

  test('zero-length requests and answers are delivered', async () => {
    const sizes: number[] = [];
    const { client } = await withClient(transport, (_id, request) => {
      sizes.push(request.byteLength);
      return new Uint8Array(0);
    });
    expect((await client.request(new Uint8Array(0))).byteLength).toBe(0);
    expect((await client.request(bytesOf('x'))).byteLength).toBe(0);
    expect(await Promise.all([0, 1, 0].map(async (n) => (await client.request(new Uint8Array(n))).byteLength))).toEqual(
      [0, 0, 0],
    );
    expect(sizes).toEqual([0, 1, 0, 1, 0]);
  });

  test('a thousand requests at once each get their own answer, whatever order the answers are given in', async () => {
    const waiting: IpcRequest[] = [];
    const fixture = await serve(transport);
    fixture.server.requests$.subscribe((request) => waiting.push(request));
    const client = await fixture.client();
    const answers = Array.from({ length: 1000 }, (_, i) => client.request(u32(i)));
    await eventually('all requests came', () => waiting.length === 1000);
    // 7 has no factor in common with 1,000: each is visited once, none after its neighbour.
    for (let i = 0; i < 1000; i++) {
      const request = waiting[(i * 7 + 3) % 1000]!;
      expect(request.respond(u32(readU32(request.span) + 1))).toBe(true);
    }
    expect((await Promise.all(answers)).map((answer) => readU32(answer))).toEqual(
      Array.from({ length: 1000 }, (_, i) => i + 1),
    );
    expect(fixture.server.stats.openRequests).toBe(0);
  });

  test('requests are delivered in the order in which they were sent, small and large', async () => {
    const seen: number[] = [];
    const { client } = await withClient(
      transport,
      (_id, request) => {
        seen.push(readU32(request));
        return request.subarray(0, 4);
      },
      { windowBytes: 32 * 1024 },
    );
    const sizes = [4, 9000, 64, 40_000, 4, 4, 7000, 128, 20_000, 4];
    const sent = Array.from({ length: 60 }, (_, i) => {
      const payload = new Uint8Array(sizes[i % sizes.length]!);
      payload.set(u32(i));
      return client.request(payload);
    });
    await Promise.all(sent);
    expect(seen).toEqual(Array.from({ length: 60 }, (_, i) => i));
  });

  test('what a client gives may be changed as soon as the call has returned, also when it is a Buffer', async () => {
    const { client } = await withClient(transport, echo, { windowBytes: 8 * 1024 });
    const scratch = Buffer.alloc(1024);
    const answers: Array<Promise<Bytes>> = [];
    // Far more than the window: most of them wait.
    for (let i = 0; i < 100; i++) {
      scratch.fill(i + 1);
      answers.push(client.request(scratch));
    }
    scratch.fill(0);
    for (const [i, answer] of (await Promise.all(answers)).entries()) {
      expect(answer.every((byte) => byte === i + 1)).toBe(true);
    }
  });

  test('what a handler gives may be changed as soon as the answer is given, also when it is a Buffer', async () => {
    const scratch = Buffer.alloc(1024);
    const fixture = await serve(transport, { responseWindowBytes: 64 * 1024 });
    let count = 0;
    fixture.server.requests$.subscribe((request) => {
      scratch.fill(++count);
      request.respond(scratch);
      scratch.fill(0);
    });
    const client = await fixture.client({ responseWindowBytes: 8 * 1024 });
    const answers = await Promise.all(Array.from({ length: 100 }, (_, i) => client.request(u32(i))));
    for (const [i, answer] of answers.entries()) expect(answer.every((byte) => byte === i + 1)).toBe(true);
  });

  test('bytes leave the library as plain Uint8Arrays, so that slice() copies, for every size', async () => {
    const kinds = new Set<unknown>();
    const { client } = await withClient(
      transport,
      (_id, request) => {
        kinds.add(Object.getPrototypeOf(request));
        return request;
      },
      { windowBytes: 32 * 1024 },
      { responseWindowBytes: 32 * 1024 },
    );
    for (const size of [0, 5, 4096, 100_000]) {
      const answer = await client.request(Buffer.alloc(size, 1));
      kinds.add(Object.getPrototypeOf(answer));
      expect(answer.buffer).toBeInstanceOf(ArrayBuffer);
    }
    expect(kinds.size).toBe(1);
    expect(kinds.has(Uint8Array.prototype)).toBe(true);
  });

  test('bytes over shared memory may be given, and come back without it', async () => {
    const { client } = await withClient(transport, echo);
    const shared = new Uint8Array(new SharedArrayBuffer(100));
    shared.set(pattern(100));
    for (const call of [client.request(shared), client.request(shared, { timeoutMs: 30_000 })]) {
      const answer = await call;
      expect(sameBytes(answer, pattern(100))).toBe(true);
      expect(answer.buffer).toBeInstanceOf(ArrayBuffer);
    }
  });

  test('answers are owned: they keep their bytes whatever comes later', async () => {
    const { client } = await withClient(transport, echo);
    const first = await client.request(pattern(1000, 1));
    for (let i = 0; i < 300; i++) await client.request(pattern(1000, i + 2));
    expect(sameBytes(first, pattern(1000, 1))).toBe(true);
  });

  test('a span that is retained keeps its bytes until its release, however late another thread reads them', async () => {
    const fixture = await serve(transport, { windowBytes: 16 * 1024 });
    const compress = async (request: IpcRequest): Promise<void> => {
      const { span } = request;
      // Others come, are answered and go meanwhile.
      for (let i = request.requestId % 4; i > 0; i--) await turn();
      const deflated = await deflate(span);
      expect(request.span).toBe(span);
      request.release();
      request.respond(deflated);
    };
    const failures: unknown[] = [];
    fixture.server.requests$.subscribe((request) => {
      compress(request).catch((error: unknown) => {
        failures.push(error);
        request.respond(u32(0));
      });
    });
    const client = await fixture.client();
    const answers = await Promise.all(Array.from({ length: 400 }, (_, i) => client.request(pattern(1000, i))));
    expect(failures).toEqual([]);
    expect(answers.filter((answer, i) => !sameBytes(inflateRawSync(answer), pattern(1000, i)))).toEqual([]);
  });

  test('request ids are unique in the life of a server, and client ids are never reused', async () => {
    const requestIds = new Set<number>();
    const clientIds: number[] = [];
    const fixture = await serveWith(transport, (clientId, request, info) => {
      requestIds.add(info.requestId);
      expect(info.clientId).toBe(clientId);
      if (clientIds.at(-1) !== clientId) clientIds.push(clientId);
      return request;
    });
    for (let i = 0; i < 5; i++) {
      const client = await fixture.client();
      for (let n = 0; n < 10; n++) await client.request(u32(n));
      await client.close();
    }
    expect(requestIds.size).toBe(50);
    expect(new Set(clientIds).size).toBe(5);
  });
}
