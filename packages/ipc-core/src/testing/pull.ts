/** The pull interface: waitForData, receive, accept and poll, for loops that want no Observable. */
import { expect, test } from 'vitest';
import type { IpcRequest, IpcServer } from '../contract.ts';
import { deferred, eventually, turn } from './eventually.ts';
import { echo, serve, withClient } from './fixture.ts';
import { bytesOf, readU32, textOf, u32 } from './payloads.ts';
import type { TransportUnderTest } from './transport-under-test.ts';

/** Answers with what came, until the server shuts down. */
async function pullAll(server: IpcServer, answer: (request: IpcRequest) => void): Promise<void> {
  for (let clientId = await server.waitForData(); clientId !== undefined; clientId = await server.waitForData()) {
    const request = server.receive(clientId);
    if (request !== undefined) answer(request);
  }
}

export function describePull(transport: TransportUnderTest): void {
  test('a loop of waitForData and receive is a server', async () => {
    const fixture = await serve(transport);
    const loop = pullAll(fixture.server, (request) => request.respond(request.span));
    const clients = await Promise.all([fixture.client(), fixture.client(), fixture.client()]);
    await Promise.all(
      clients.map(async (client, n) => {
        for (let i = 0; i < 100; i++) expect(readU32(await client.request(u32(n * 1000 + i)))).toBe(n * 1000 + i);
      }),
    );
    fixture.server.requestShutdown();
    await loop;
    await fixture.server.closed;
  });

  test('receive() advances but does not release: a window of requests may be taken before the first is answered', async () => {
    const fixture = await serve(transport);
    const client = await fixture.client();
    const answers = Array.from({ length: 10 }, (_, i) => client.request(u32(i)));
    const taken: IpcRequest[] = [];
    while (taken.length < 10) {
      const clientId = await fixture.server.waitForData();
      for (
        let request = fixture.server.receive(clientId!);
        request !== undefined;
        request = fixture.server.receive(clientId!)
      ) {
        taken.push(request);
      }
    }
    expect(taken.map(({ span }) => readU32(span))).toEqual([...Array(10).keys()]);
    expect(fixture.server.stats.openRequests).toBe(10);
    for (const request of taken.reverse()) request.respond(request.span);
    expect((await Promise.all(answers)).map((answer) => readU32(answer))).toEqual([...Array(10).keys()]);
  });

  test('clients take turns, so that none is starved by a busy one', async () => {
    const fixture = await serve(transport);
    const clients = await Promise.all([fixture.client(), fixture.client(), fixture.client()]);
    const answers = clients.flatMap((client, n) => Array.from({ length: 10 }, () => client.request(u32(n))));
    await eventually('all came', () => fixture.server.poll() === 30);
    const order: number[] = [];
    for (let i = 0; i < 30; i++) {
      const request = fixture.server.receive((await fixture.server.waitForData(0))!)!;
      order.push(readU32(request.span));
      request.respond(request.span);
    }
    for (let i = 0; i < 30; i += 3) expect(new Set(order.slice(i, i + 3)).size).toBe(3);
    await Promise.all(answers);
  });

  test('waitForData waits as long as it was told: 0 is no wait, none is for ever', async () => {
    const fixture = await serve(transport);
    expect(await fixture.server.waitForData(0)).toBeUndefined();
    const startedMs = performance.now();
    expect(await fixture.server.waitForData(30)).toBeUndefined();
    // Timers may fire a little early, since times are rounded.
    expect(performance.now() - startedMs).toBeGreaterThanOrEqual(25);
    await expect(fixture.server.waitForData(-1)).rejects.toBeInstanceOf(RangeError);
    const waiting = fixture.server.waitForData();
    const client = await fixture.client();
    const answer = client.request(u32(1));
    const clientId = await waiting;
    expect(clientId).toBe(fixture.events[0]!.clientId);
    const request = fixture.server.receive(clientId!)!;
    expect(fixture.server.receive(clientId!)).toBeUndefined();
    request.respond(request.span);
    expect(readU32(await answer)).toBe(1);
  });

  test('a shutdown ends every wait with undefined', async () => {
    const fixture = await serve(transport);
    const waits = [fixture.server.waitForData(), fixture.server.waitForData(30_000), fixture.server.accept()];
    fixture.server.requestShutdown();
    expect(await Promise.all(waits)).toEqual([undefined, undefined, undefined]);
    expect(await fixture.server.waitForData()).toBeUndefined();
    expect(await fixture.server.accept()).toBeUndefined();
  });

  test('accept reports each client once, in order', async () => {
    const fixture = await serve(transport);
    expect(await fixture.server.accept(0)).toBeUndefined();
    const first = fixture.server.accept();
    const clients = [await fixture.client()];
    // A plain client is there when its first bytes are.
    const asked = clients[0]!.request(u32(0));
    expect(await first).toBe(fixture.events[0]!.clientId);
    for (let i = 0; i < 3; i++) clients.push(await fixture.client());
    const more = clients.slice(1).map((client) => client.request(u32(0)));
    const ids = [await fixture.server.accept(), await fixture.server.accept(), await fixture.server.accept(30_000)];
    expect(ids).toEqual(fixture.events.slice(1).map(({ clientId }) => clientId));
    expect(await fixture.server.accept(0)).toBeUndefined();
    fixture.server.respond(echo);
    await Promise.all([asked, ...more]);
  });

  test('requests$ and the pull interface exclude each other with a TypeError', async () => {
    const pulled = await serve(transport);
    expect(await pulled.server.waitForData(0)).toBeUndefined();
    const errors: unknown[] = [];
    pulled.server.requests$.subscribe({ error: (error: unknown) => errors.push(error) });
    expect(errors).toEqual([expect.any(TypeError)]);
    const { server, client } = await withClient(transport, echo);
    await expect(server.waitForData(0)).rejects.toBeInstanceOf(TypeError);
    expect(() => server.receive(1)).toThrow(TypeError);
    expect(readU32(await client.request(u32(1)))).toBe(1);
  });

  test('receive() of a client that left is undefined; of one that never was, a TypeError', async () => {
    const fixture = await serve(transport);
    const client = await fixture.client();
    const pending = Promise.allSettled([client.request(u32(1))]);
    const clientId = (await fixture.server.waitForData())!;
    await client.close();
    await pending;
    await eventually('it has left', () => fixture.disconnects().length === 1);
    expect(fixture.server.receive(clientId)).toBeUndefined();
    expect(() => fixture.server.receive(clientId + 1)).toThrow(TypeError);
  });

  test('poll() says how many requests wait, and does not take them', async () => {
    const fixture = await serve(transport);
    expect(fixture.server.poll()).toBe(0);
    const client = await fixture.client();
    const answers = ['a', 'b', 'c'].map((text) => client.request(bytesOf(text)));
    await eventually('three wait', () => fixture.server.poll() === 3);
    expect(fixture.server.poll()).toBe(3);
    const clientId = (await fixture.server.waitForData(0))!;
    const request = fixture.server.receive(clientId)!;
    expect(textOf(request.span)).toBe('a');
    expect(fixture.server.poll()).toBe(2);
    request.respond(request.span);
    for (let i = 0; i < 2; i++) {
      const next = fixture.server.receive(clientId)!;
      next.respond(next.span);
    }
    expect((await Promise.all(answers)).map((answer) => textOf(answer))).toEqual(['a', 'b', 'c']);
  });

  test('poll() beside a subscription delivers there, also from inside a handler', async () => {
    const fixture = await serve(transport);
    const seen: number[] = [];
    const gate = deferred();
    fixture.server.requests$.subscribe((request) => {
      seen.push(readU32(request.span));
      expect(fixture.server.poll()).toBeGreaterThanOrEqual(0);
      if (seen.length === 50) gate.resolve();
      request.respond(request.span);
    });
    const client = await fixture.client();
    const answers = Array.from({ length: 50 }, (_, i) => client.request(u32(i)));
    while (seen.length < 50) {
      fixture.server.poll();
      await turn();
    }
    await gate.promise;
    expect(seen).toEqual([...Array(50).keys()]);
    expect((await Promise.all(answers)).map((answer) => readU32(answer))).toEqual(seen);
  });

  test('pull respects maxInFlight: nothing is there until something is answered', async () => {
    const fixture = await serve(transport, { maxInFlight: 2 });
    const client = await fixture.client();
    const answers = [1, 2, 3].map((i) => client.request(u32(i)));
    await eventually('all came', () => fixture.server.poll() === 3);
    const clientId = (await fixture.server.waitForData())!;
    const first = fixture.server.receive(clientId)!;
    const second = fixture.server.receive(clientId)!;
    expect(fixture.server.receive(clientId)).toBeUndefined();
    expect(await fixture.server.waitForData(0)).toBeUndefined();
    const waiting = fixture.server.waitForData();
    first.respond(first.span);
    expect(await waiting).toBe(clientId);
    const third = fixture.server.receive(clientId)!;
    for (const request of [second, third]) request.respond(request.span);
    expect((await Promise.all(answers)).map((answer) => readU32(answer))).toEqual([1, 2, 3]);
  });
}
