/** Requests and their answers, seen from the client. */
import { map } from 'rxjs';
import { expect, test } from 'vitest';
import type { Bytes, IpcRequest } from '../contract.ts';
import { RemoteError, TimeoutError } from '../errors.ts';
import { deferred, eventually, expectCode } from './eventually.ts';
import { echo, serve, serveWith, withClient } from './fixture.ts';
import { bytesOf, pattern, readU32, sameBytes, textOf, u32 } from './payloads.ts';
import type { TransportUnderTest } from './transport-under-test.ts';

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

  test('answers are owned: they keep their bytes whatever comes later', async () => {
    const { client } = await withClient(transport, echo);
    const first = await client.request(pattern(1000, 1));
    for (let i = 0; i < 300; i++) await client.request(pattern(1000, i + 2));
    expect(sameBytes(first, pattern(1000, 1))).toBe(true);
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

  if (transport.framing === 'plain') return;

  test('a handler that throws rejects its own request with what it threw, without the stack', async () => {
    class Missing extends Error {
      override readonly name = 'Missing';
      readonly code = 'ENOENT';
    }
    const { client } = await withClient(transport, (_id, request) => {
      if (textOf(request) === 'bad') throw new Missing('no such thing');
      return request;
    });
    const good = Array.from({ length: 20 }, (_, i) => client.request(u32(i)));
    const failure = client.request(bytesOf('bad'));
    const more = Array.from({ length: 20 }, (_, i) => client.request(u32(i)));
    const error: unknown = await failure.catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(RemoteError);
    expect(error).toMatchObject({
      code: 'ERR_IPC_REMOTE',
      message: 'no such thing',
      remote: { name: 'Missing', message: 'no such thing', code: 'ENOENT' },
    });
    expect(JSON.stringify((error as RemoteError).remote)).not.toContain('at ');
    expect((await Promise.all([...good, ...more])).map((answer) => readU32(answer))).toEqual([
      ...Array(20).keys(),
      ...Array(20).keys(),
    ]);
  });

  test('a handler may throw or reject with any value at all: its request fails, and nothing else', async () => {
    const { proxy, revoke } = Proxy.revocable({}, {});
    revoke();
    const values: unknown[] = [
      undefined,
      null,
      0,
      'text',
      Symbol('symbol'),
      12n,
      () => 1,
      {},
      { message: 'plain object', code: 5 },
      {
        get message(): string {
          throw new Error('a getter that throws');
        },
      },
      {
        toString: () => {
          throw new Error('a toString that throws');
        },
      },
      Object.create(null),
      proxy,
      new Error('x'.repeat(100_000)),
      Object.assign(new Error('odd'), { name: 'n'.repeat(10_000), code: 'c'.repeat(10_000) }),
      new Error('\u{1F4A9}\u0000"\\'.repeat(5000)),
      Object.assign(new Error('a code of ours'), { code: 'ERR_IPC_REFUSED' }),
    ];
    const { client } = await withClient(
      transport,
      (_id, request, info) => {
        const value = values[readU32(request)];
        if (info.metadata === undefined) throw value;
        return Promise.reject(value);
      },
      {},
      // An error must fit whatever the window.
      { responseWindowBytes: 8 * 1024 },
    );
    for (const metadata of [undefined, new Map([['reject', 'yes']])]) {
      for (let i = 0; i < values.length; i++) {
        const error: unknown = await client.request(u32(i), { metadata }).catch((reason: unknown) => reason);
        expect({ i, remote: error instanceof RemoteError }).toEqual({ i, remote: true });
      }
    }
  });

  test('a handler that returns something senseless fails its request with a TypeError', async () => {
    const outputs: unknown[] = [null, 'text', 5, {}, [], new ArrayBuffer(8)];
    const { client } = await withClient(transport, (_id, request) => outputs[readU32(request)] as Bytes);
    for (let i = 0; i < outputs.length; i++) {
      await expect(client.request(u32(i))).rejects.toMatchObject({
        code: 'ERR_IPC_REMOTE',
        remote: { name: 'TypeError', message: expect.stringMatching(/^Expected the handler to return .*, got /) },
      });
    }
  });

  test('a handler without an answer: request rejects with "no answer", request$ completes empty', async () => {
    const { client } = await withClient(transport, () => undefined);
    await expect(client.request(bytesOf('x'))).rejects.toMatchObject({
      code: 'ERR_IPC_REMOTE',
      message: expect.stringContaining('no answer'),
    });
    await expectCode(client.exchange(bytesOf('x')), 'ERR_IPC_REMOTE');
    const items: Bytes[] = [];
    await client.request$(bytesOf('x')).forEach((item) => items.push(item));
    expect(items).toEqual([]);
  });

  test('metadata and what is left of the deadline arrive with the request', async () => {
    const infos: Array<Pick<IpcRequest, 'metadata' | 'deadlineMs'>> = [];
    const { client } = await withClient(transport, (_id, request, info) => {
      infos.push({ metadata: info.metadata, deadlineMs: info.deadlineMs });
      return request;
    });
    const metadata = new Map([
      ['tenant', 'ada'],
      ['traceparent', '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'],
      ['', 'an empty key, \u{1F4E6}'],
    ]);
    const payload = pattern(333);
    expect(await client.request(payload, { metadata, timeoutMs: 20_000 })).toEqual(payload);
    expect(await client.request(payload, { metadata })).toEqual(payload);
    expect(await client.request(payload, { timeoutMs: 20_000 })).toEqual(payload);
    expect(await client.request(payload)).toEqual(payload);
    expect(infos.map((info) => info.metadata && new Map(info.metadata))).toEqual([
      metadata,
      metadata,
      undefined,
      undefined,
    ]);
    const [first, second, third, fourth] = infos.map((info) => info.deadlineMs);
    for (const deadlineMs of [first, third]) {
      expect(deadlineMs).toBeGreaterThan(0);
      expect(deadlineMs).toBeLessThanOrEqual(20_000);
    }
    expect([second, fourth]).toEqual([undefined, undefined]);
  });

  test('metadata over 1 KiB is refused with a RangeError, and nothing is sent', async () => {
    const { client, fixture } = await withClient(transport, echo);
    const fits = new Map([['k', 'v'.repeat(1024 - 5)]]);
    const over = new Map([['k', 'v'.repeat(1024 - 4)]]);
    await expect(client.request(u32(1), { metadata: over })).rejects.toBeInstanceOf(RangeError);
    await client.request(u32(1), { metadata: fits });
    expect(fixture.server.stats.requests).toBe(1);
  });

  test('the deadline aborts the signal of the request, and an answer after it is dropped', async () => {
    const gate = deferred();
    const aborted: unknown[] = [];
    const { client, fixture } = await withClient(transport, async (_id, request, info) => {
      if (textOf(request) !== 'slow') return request;
      info.signal.addEventListener('abort', () => aborted.push(info.signal.reason));
      await gate.promise;
      return request;
    });
    await expectCode(client.request(bytesOf('slow'), { timeoutMs: 30 }), 'ERR_IPC_TIMEOUT');
    await eventually('the signal aborts', () => aborted.length === 1);
    gate.resolve();
    await eventually('the late answer is dropped', () => fixture.server.stats.droppedAnswers === 1);
    expect(textOf(await client.request(bytesOf('next')))).toBe('next');
    await eventually('nothing is open', () => fixture.server.stats.openRequests === 0 && client.stats.pending === 0);
  });
}
