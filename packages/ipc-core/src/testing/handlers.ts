/** Handlers: respond() and run(), how many run at once, and in which order their answers leave. */
import { expect, onTestFinished, test } from 'vitest';
import type { Bytes, IpcRequest } from '../contract.ts';
import { ShutdownRequested } from '../errors.ts';
import { deferred, eventually, type Deferred } from './eventually.ts';
import { echo, Fixture, serve, serveWith, withClient } from './fixture.ts';
import { bytesOf, readU32, textOf, u32 } from './payloads.ts';
import type { TransportUnderTest } from './transport-under-test.ts';

export function describeHandlers(transport: TransportUnderTest): void {
  test('at most `concurrency` handlers run at once, and all requests are answered', async () => {
    const gate = deferred();
    let running = 0;
    let most = 0;
    const fixture = await serveWith(
      transport,
      async (_id, request) => {
        most = Math.max(most, ++running);
        await gate.promise;
        running--;
        return request;
      },
      {},
      { concurrency: 3 },
    );
    const client = await fixture.client();
    const answers = Array.from({ length: 100 }, (_, i) => client.request(u32(i)));
    await eventually('all came', () => fixture.server.stats.requests === 100);
    expect(running).toBe(3);
    gate.resolve();
    expect((await Promise.all(answers)).map((answer) => readU32(answer))).toEqual([...Array(100).keys()]);
    expect(most).toBe(3);
  });

  test('requests that wait for a running handler keep their spans and their order', async () => {
    const gates: Array<Deferred<void>> = [];
    const started: number[] = [];
    const fixture = await serveWith(
      transport,
      async (_id, request) => {
        started.push(readU32(request));
        const gate = deferred();
        gates.push(gate);
        await gate.promise;
        return request;
      },
      {},
      { concurrency: 1 },
    );
    const client = await fixture.client();
    const answers = Array.from({ length: 5 }, (_, i) => client.request(u32(i)));
    for (let i = 0; i < 5; i++) {
      await eventually(`handler ${i} starts`, () => gates.length === i + 1);
      gates[i]!.resolve();
      expect(readU32(await answers[i]!)).toBe(i);
    }
    expect(started).toEqual([0, 1, 2, 3, 4]);
  });

  test('with order "request", answers leave in the order of the requests, whatever order handlers finish in', async () => {
    const gates = new Map<number, Deferred<void>>();
    const fixture = await serveWith(
      transport,
      async (_id, request) => {
        const gate = deferred();
        gates.set(readU32(request), gate);
        await gate.promise;
        return request;
      },
      {},
      { order: 'request' },
    );
    const client = await fixture.client();
    const settled: number[] = [];
    const answers = Array.from({ length: 10 }, async (_, i) => {
      settled.push(readU32(await client.request(u32(i))));
    });
    await eventually('all run', () => gates.size === 10);
    for (let i = 9; i >= 0; i--) gates.get(i)!.resolve();
    await Promise.all(answers);
    expect(settled).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
  });

  test('run() listens, answers, and resolves after the shutdown', async () => {
    const fixture = await open(transport);
    const finished = fixture.server.run((_id, request) => {
      if (textOf(request) === 'quit') throw new ShutdownRequested(bytesOf('bye'));
      return request;
    });
    const client = await fixture.clientWhenUp();
    expect(textOf(await client.request(bytesOf('hello')))).toBe('hello');
    expect(textOf(await client.request(bytesOf('quit')))).toBe('bye');
    await finished;
    await fixture.server.run(echo);
  });

  test('run() on a server that listens already answers there, and rejects when its pipeline fails', async () => {
    const fixture = await serve(transport);
    const finished = fixture.server.run(echo);
    const client = await fixture.client();
    expect(textOf(await client.request(bytesOf('hello')))).toBe('hello');
    const reason = new Error('broken');
    fixture.server.responses.error(reason);
    await expect(finished).rejects.toBe(reason);
  });

  test('a handler gets the client, the bytes, and the request with the rest', async () => {
    const seen: Array<[number, string, boolean]> = [];
    const { client, fixture } = await withClient(transport, (clientId, request, info) => {
      seen.push([clientId, textOf(request), info.span === request && info.clientId === clientId]);
      return request;
    });
    await client.request(bytesOf('x'));
    const connected = fixture.events.find((event) => event.type === 'connected');
    expect(seen).toEqual([[connected?.clientId, 'x', true]]);
  });

  test('an asynchronous handler keeps the span until it answers', async () => {
    const gate = deferred();
    const infos: IpcRequest[] = [];
    const { client } = await withClient(transport, async (_id, request, info) => {
      infos.push(info);
      await gate.promise;
      return bytesOf(textOf(request).toUpperCase());
    });
    const answers = ['a', 'b', 'c'].map((text) => client.request(bytesOf(text)));
    await eventually('all run', () => infos.length === 3);
    gate.resolve();
    expect((await Promise.all(answers)).map((answer) => textOf(answer))).toEqual(['A', 'B', 'C']);
    for (const info of infos) expect(() => info.span).toThrow(TypeError);
  });

  test('requests wait while nobody subscribes, and the next subscriber takes them', async () => {
    const fixture = await serve(transport);
    const client = await fixture.client();
    const early = client.request(bytesOf('early'));
    const first = fixture.server.respond(() => bytesOf('first'));
    expect(textOf(await early)).toBe('first');
    first.unsubscribe();
    const between = client.request(bytesOf('between'));
    fixture.server.respond(() => bytesOf('second'));
    expect(textOf(await between)).toBe('second');
  });

  test('a second subscriber of requests$ gets a TypeError, and the first goes on', async () => {
    const { client, server } = await withClient(transport, echo);
    const errors: unknown[] = [];
    server.requests$.subscribe({ error: (error: unknown) => errors.push(error) });
    expect(errors).toEqual([expect.any(TypeError)]);
    expect(textOf(await client.request(bytesOf('still')))).toBe('still');
  });

  test('handlers and options that cannot be are refused at once', async () => {
    const { server } = await serve(transport);
    const bad: unknown = 5;
    expect(() => server.respond(bad as typeof echo)).toThrow(TypeError);
    expect(() => server.respond(echo, { concurrency: 0 })).toThrow(RangeError);
    expect(() => server.respond(echo, { concurrency: 1.5 })).toThrow(RangeError);
    expect(() => server.respond(echo, { order: bad as 'request' })).toThrow(TypeError);
    await expect(server.run(bad as typeof echo)).rejects.toBeInstanceOf(TypeError);
  });

  if (transport.framing === 'plain') return;

  test('with order "request", a failure keeps its place too', async () => {
    const gate = deferred();
    const fixture = await serveWith(
      transport,
      (_id, request): Bytes | Promise<Bytes> => {
        const value = readU32(request);
        if (value === 0) return gate.promise.then(() => request);
        if (value === 1) throw new Error('one');
        return request;
      },
      {},
      { order: 'request' },
    );
    const client = await fixture.client();
    const settled: number[] = [];
    const answers = [0, 1, 2].map((i) =>
      client.request(u32(i)).then(
        () => settled.push(i),
        () => settled.push(-i),
      ),
    );
    await eventually('all came', () => fixture.server.stats.requests === 3);
    expect(settled).toEqual([]);
    gate.resolve();
    await Promise.all(answers);
    expect(settled).toEqual([0, -1, 2]);
  });

  test('a request that is cancelled while it waits for a running handler never starts', async () => {
    const gate = deferred();
    const started: string[] = [];
    const fixture = await serveWith(
      transport,
      async (_id, request) => {
        const text = textOf(request);
        started.push(text);
        if (text === 'first') await gate.promise;
        return bytesOf(text);
      },
      {},
      { concurrency: 1 },
    );
    const client = await fixture.client();
    const first = client.request(bytesOf('first'));
    const controller = new AbortController();
    const second = client.request(bytesOf('second'), { signal: controller.signal });
    const third = client.request(bytesOf('third'));
    await eventually('all came', () => fixture.server.stats.requests === 3);
    controller.abort();
    await expect(second).rejects.toHaveProperty('name', 'AbortError');
    await eventually('the server knows', () => client.stats.pending === 2);
    gate.resolve();
    await Promise.all([first, third]);
    expect(started).toEqual(['first', 'third']);
  });
}

async function open(transport: TransportUnderTest): Promise<Fixture> {
  const fixture = new Fixture(await transport.open(), {});
  onTestFinished(() => fixture.dispose());
  return fixture;
}
