/** Cancelling: one terminal frame per request, ids that are not reused early, and nothing that gets lost on the way. */
import { NEVER } from 'rxjs';
import { expect, test } from 'vitest';
import type { IpcRequest } from '../contract.ts';
import { IpcError } from '../errors.ts';
import { FLAG_MORE, KIND_END, KIND_REQUEST, KIND_RESPONSE, KIND_STREAM_REQUEST } from '../frame.ts';
import { deferred, eventually, failureOf } from './eventually.ts';
import { echo, serve, serveWith, withClient } from './fixture.ts';
import { bytesOf, pattern, readU32, sameBytes, textOf, u32 } from './payloads.ts';
import type { TransportUnderTest } from './transport-under-test.ts';

export function describeCancellation(transport: TransportUnderTest): void {
  test('aborting a request rejects it with the reason, and aborts its signal on the server', async () => {
    const requests: IpcRequest[] = [];
    const fixture = await serve(transport);
    fixture.server.requests$.subscribe((request) => requests.push(request));
    const client = await fixture.client();
    const controller = new AbortController();
    const failure = failureOf(client.request(u32(1), { signal: controller.signal }));
    await eventually('it came', () => requests.length === 1);
    const { signal } = requests[0]!;
    const reason = new Error('not wanted any more');
    controller.abort(reason);
    expect(await failure).toBe(reason);
    await eventually('the signal aborts', () => signal.aborted);
    expect(signal.reason).toMatchObject({ code: 'ERR_IPC_CANCELLED' });
    // The span stays with the handler until it answers or releases.
    expect(readU32(requests[0]!.span)).toBe(1);
    expect(requests[0]!.respond(u32(2))).toBe(false);
    expect(fixture.server.stats).toMatchObject({ openRequests: 0, droppedAnswers: 1 });
    await eventually('the client knows', () => client.stats.pending === 0);
  });

  test('a client whose window is full of slow requests can still cancel one', async () => {
    const requests: IpcRequest[] = [];
    const fixture = await serve(transport, { windowBytes: 16 * 1024 });
    fixture.server.requests$.subscribe((request) => requests.push(request));
    const client = await fixture.client();
    const controllers = Array.from({ length: 64 }, () => new AbortController());
    const answers = controllers.map((controller, i) => {
      const payload = new Uint8Array(1024);
      payload.set(u32(i));
      return client.request(payload, { signal: controller.signal }).catch((error: unknown) => error);
    });
    await eventually('the window is full', () => requests.length > 4 && !client.trySend(new Uint8Array(0)));
    expect(requests.length).toBeLessThan(64);
    const { signal } = requests[2]!;
    controllers[2]!.abort();
    await eventually('the signal aborts', () => signal.aborted);
    expect(requests[1]!.signal.aborted).toBe(false);
    for (let answered = 0; answered < 64; answered++) {
      await eventually(`request ${answered}`, () => requests.length > answered);
      requests[answered]!.respond(requests[answered]!.span.slice(0, 4));
    }
    for (const [i, answer] of (await Promise.all(answers)).entries()) {
      if (i === 2) expect(answer).toHaveProperty('name', 'AbortError');
      else expect(readU32(answer as Uint8Array)).toBe(i);
    }
  });

  test('a request that waits to be sent and is aborted never reaches the server', async () => {
    const requests: number[] = [];
    const gate = deferred();
    const fixture = await serveWith(
      transport,
      async (_id, request) => {
        requests.push(readU32(request));
        await gate.promise;
        return u32(0);
      },
      { windowBytes: 8 * 1024 },
    );
    const client = await fixture.client();
    const controller = new AbortController();
    const large = (i: number): Uint8Array => {
      const payload = new Uint8Array(2000);
      payload.set(u32(i));
      return payload;
    };
    const before = Array.from({ length: 8 }, (_, i) => client.request(large(i)));
    const failure = failureOf(client.request(large(100), { signal: controller.signal }));
    const after = Array.from({ length: 8 }, (_, i) => client.request(large(i + 8)));
    await eventually('the first came', () => requests.length > 0);
    controller.abort();
    expect(await failure).toHaveProperty('name', 'AbortError');
    gate.resolve();
    await Promise.all([...before, ...after]);
    expect(requests).toEqual([...Array(16).keys()]);
  });

  test('whatever is cancelled when, each of the others gets its own answer', async () => {
    const { client, fixture } = await withClient(
      transport,
      async (_id, request, info) => {
        const value = readU32(request);
        // Some at once, some a turn later, some when they are told to stop.
        if (value % 3 === 1) await Promise.resolve();
        if (value % 7 === 3) await new Promise((resolve) => setImmediate(resolve));
        if (value % 11 === 5 && !info.signal.aborted) await new Promise((resolve) => setTimeout(resolve, 2));
        return request;
      },
      { windowBytes: 32 * 1024 },
      { responseWindowBytes: 32 * 1024, maxPending: 4096 },
    );
    const sizes = [4, 100, 2000, 12_000, 4, 40_000];
    let cancelled = 0;
    const calls = Array.from({ length: 1200 }, (_, i) => {
      const payload = pattern(sizes[i % sizes.length]!, i);
      payload.set(u32(i));
      if (i % 2 === 0) return client.request(payload).then((answer) => sameBytes(answer, payload));
      const controller = new AbortController();
      const call = client.request(payload, { signal: controller.signal }).then(
        (answer) => sameBytes(answer, payload),
        () => ++cancelled > 0,
      );
      if (i % 8 === 1) controller.abort();
      else if (i % 8 === 3) queueMicrotask(() => controller.abort());
      else if (i % 8 === 5) setImmediate(() => controller.abort());
      else setTimeout(() => controller.abort(), i % 5);
      return call;
    });
    const correct = await Promise.all(calls);
    expect(correct.filter((each) => !each)).toEqual([]);
    expect(cancelled).toBeGreaterThan(0);
    await eventually('nothing is open', () => fixture.server.stats.openRequests === 0 && client.stats.pending === 0);
    expect(fixture.disconnects()).toEqual([]);
  });

  test('exactly one frame ends a request, however often and whenever it is cancelled', async () => {
    const requests: IpcRequest[] = [];
    const fixture = await serve(transport);
    fixture.server.requests$.subscribe((request) => requests.push(request));
    const raw = await fixture.raw();
    await raw.send(KIND_REQUEST, 5, u32(5));
    await eventually('it came', () => requests.length === 1);
    for (let i = 0; i < 3; i++) raw.cancel(5);
    await raw.untilEnded(5);
    expect(raw.errorCode(5)).toBe('ERR_IPC_CANCELLED');
    raw.cancel(5);
    requests[0]!.respond(u32(50));
    // The id is free again, and what it meant is forgotten.
    await raw.send(KIND_REQUEST, 5, u32(6));
    await eventually('the second came', () => requests.length === 2);
    requests[1]!.respond(u32(60));
    await eventually('its answer', () => raw.ofKind(KIND_RESPONSE, 5).length === 1);
    raw.cancel(5);
    raw.cancel(6);
    await raw.send(KIND_REQUEST, 7);
    await eventually('the third came', () => requests.length === 3);
    expect(requests[2]!.signal.aborted).toBe(false);
    requests[2]!.respond(u32(70));
    await raw.untilEnded(7);
    expect(raw.terminals(5).length).toBe(2);
    expect(raw.terminals(6).length).toBe(0);
    expect(fixture.disconnects()).toEqual([]);
  });

  test('a request that was cancelled before anybody took it never reaches the pipeline', async () => {
    const fixture = await serve(transport);
    const raw = await fixture.raw();
    for (const id of [1, 2, 3]) await raw.send(KIND_REQUEST, id, u32(id));
    raw.cancel(2);
    await raw.untilEnded(2);
    const seen: number[] = [];
    fixture.server.respond((_id, request) => {
      seen.push(readU32(request));
      return request;
    });
    await raw.untilEnded(1);
    await raw.untilEnded(3);
    expect(seen).toEqual([1, 3]);
    expect(raw.errorCode(2)).toBe('ERR_IPC_CANCELLED');
  });

  test('a cancel in the middle of a fragmented request discards it, and the next one is whole', async () => {
    const fixture = await serveWith(transport, echo);
    const raw = await fixture.raw();
    const total = new Uint8Array(8);
    total.set(u32(3000));
    await raw.send(KIND_REQUEST, 9, total, FLAG_MORE);
    await raw.send(KIND_REQUEST, 9, pattern(1000), FLAG_MORE);
    raw.cancel(9);
    await raw.untilEnded(9);
    expect(raw.errorCode(9)).toBe('ERR_IPC_CANCELLED');
    await raw.send(KIND_REQUEST, 9, pattern(40));
    await eventually('the answer', () => raw.ofKind(KIND_RESPONSE, 9).length === 1);
    expect(sameBytes(raw.ofKind(KIND_RESPONSE, 9)[0]!.payload, pattern(40))).toBe(true);
    expect(fixture.server.stats.requests).toBe(1);
  });

  test('an answer that waits for room can be cancelled: it is replaced by the error', async () => {
    // Some fill the window, some wait behind it, and not so many that requests would have to wait.
    const count = 9;
    const small = { responseWindowBytes: 8 * 1024 };
    const fixture = await serveWith(transport, (_id, request) => pattern(1500, readU32(request)), small);
    const raw = await fixture.raw({ holding: true, ...small });
    for (let id = 1; id <= count; id++) await raw.send(KIND_REQUEST, id, u32(id));
    await eventually('all are answered', () => fixture.server.stats.responses === count);
    const waiting = count;
    expect(raw.terminals(waiting).length).toBe(0);
    raw.cancel(waiting);
    raw.cancel(waiting);
    // What comes behind the cancel says that the server has it: room that came first would let the answer go.
    await raw.send(KIND_REQUEST, count + 1, u32(count + 1));
    await eventually('the cancel came', () => fixture.server.stats.requests === count + 1);
    raw.letGo();
    for (let id = 1; id <= count + 1; id++) await raw.untilEnded(id);
    expect(raw.errorCode(waiting)).toBe('ERR_IPC_CANCELLED');
    for (let id = 1; id < count; id++) expect(raw.ofKind(KIND_RESPONSE, id).length).toBe(1);
    for (let id = 1; id <= count; id++) expect(raw.terminals(id).length).toBe(1);
  });

  test('an answer that is half sent can be cancelled: its error ends the part', async () => {
    const small = { responseWindowBytes: 8 * 1024 };
    const fixture = await serveWith(transport, (_id, request) => pattern(readU32(request), 1), small);
    const raw = await fixture.raw({ holding: true, ...small });
    await raw.send(KIND_REQUEST, 1, u32(100_000));
    await eventually('a part of it came', () => raw.ofKind(KIND_RESPONSE, 1).length > 1);
    raw.cancel(1);
    await raw.send(KIND_REQUEST, 2, u32(100));
    await eventually('the second is answered', () => fixture.server.stats.responses >= 2);
    raw.letGo();
    await eventually('the second answer', () => raw.ofKind(KIND_RESPONSE, 2).length === 1);
    expect(raw.errorCode(1)).toBe('ERR_IPC_CANCELLED');
    expect(raw.terminals(1).length).toBe(1);
    const end = raw.received.findIndex(({ id, flags }) => id === 1 && flags === 0);
    expect(raw.received.slice(0, end).every(({ id }) => id === 1)).toBe(true);
  });

  test('a cancelled stream sends nothing after its terminal frame', async () => {
    let pulled = 0;
    const fixture = await serveWith(transport, async function* () {
      for (;;) {
        pulled++;
        yield new Uint8Array(100);
      }
    });
    const raw = await fixture.raw({ streamWindowBytes: 1024 });
    await raw.send(KIND_STREAM_REQUEST, 4);
    await eventually('items come', () => pulled > 5);
    raw.cancel(4);
    await raw.untilEnded(4);
    const count = raw.received.length;
    raw.credit(4, 2 ** 20);
    await raw.send(KIND_STREAM_REQUEST, 8);
    await eventually('another one runs', () => raw.received.filter(({ id }) => id === 8).length > 5);
    expect(raw.received.slice(count).every(({ id }) => id === 8)).toBe(true);
    expect(raw.errorCode(4)).toBe('ERR_IPC_CANCELLED');
  });

  test('a call that was given up counts as pending until the server has ended it', async () => {
    const requests: IpcRequest[] = [];
    const fixture = await serve(transport);
    const client = await fixture.client({ maxPending: 2 });
    // Nobody reads the requests, but cancels act at once.
    const controller = new AbortController();
    const failure = failureOf(client.request(u32(1), { signal: controller.signal }));
    controller.abort();
    await failure;
    await eventually('it has ended', () => client.stats.pending === 0);
    fixture.server.requests$.subscribe((request) => requests.push(request));
    const kept = [client.request(u32(2)), client.request(u32(3))];
    expect(await failureOf(client.request(u32(4)))).toMatchObject({ code: 'ERR_IPC_OVERLOADED' });
    await eventually('both came', () => requests.length === 2);
    for (const request of requests) request.respond(request.span);
    expect((await Promise.all(kept)).map((answer) => readU32(answer))).toEqual([2, 3]);
  });

  test('unsubscribing from request$ before it is sent sends nothing', async () => {
    const fixture = await serveWith(transport, (_id, request) => (textOf(request) === 'never' ? NEVER : request));
    const client = fixture.idle();
    const connecting = client.connect();
    client
      .request$(bytesOf('never'))
      .subscribe({ error: () => undefined })
      .unsubscribe();
    await connecting;
    await client.request(bytesOf('x'));
    expect(fixture.server.stats.requests).toBe(1);
    expect(client.stats.pending).toBe(0);
  });

  test('an answer that never comes does not keep its client from closing', async () => {
    const fixture = await serveWith(transport, () => new Promise(() => undefined));
    const client = await fixture.client();
    const failure = failureOf(client.request(u32(1)));
    await eventually('it runs', () => fixture.server.stats.openRequests === 1);
    await client.close();
    expect(await failure).toBeInstanceOf(IpcError);
    await eventually('the request is off the books', () => fixture.server.stats.openRequests === 0);
    const raw = await fixture.raw();
    await raw.send(KIND_STREAM_REQUEST, 1);
    await eventually('another runs', () => fixture.server.stats.openRequests === 1);
    expect(raw.ofKind(KIND_END).length).toBe(0);
  });
}
