/** Plain framing: what it can express, and how it says no to the rest. */
import { lastValueFrom, of } from 'rxjs';
import { expect, test } from 'vitest';
import type { ClientEvent, IpcRequest } from '../contract.ts';
import { KIND_REQUEST, KIND_RESPONSE } from '../frame.ts';
import { deferred, eventually, expectCode, failureOf } from './eventually.ts';
import { echo, serve, serveWith, stateOf, withClient, type Fixture } from './fixture.ts';
import { bytesOf, pattern, readU32, textOf, u32 } from './payloads.ts';
import type { RawPeer } from './raw-peer.ts';
import type { TransportUnderTest } from './transport-under-test.ts';

async function ask(raw: RawPeer, ...texts: string[]): Promise<void> {
  for (const text of texts) await raw.send(KIND_REQUEST, 0, bytesOf(text));
}

function answersOf(raw: RawPeer): string[] {
  return raw.ofKind(KIND_RESPONSE).map(({ payload }) => textOf(payload));
}

/** A server whose requests are answered by hand. */
async function byHand(transport: TransportUnderTest): Promise<{ fixture: Fixture; requests: IpcRequest[] }> {
  const fixture = await serve(transport);
  const requests: IpcRequest[] = [];
  fixture.server.requests$.subscribe((request) => requests.push(request));
  return { fixture, requests };
}

export function describePlain(transport: TransportUnderTest): void {
  test('answers leave in the order of the requests, whatever order they are given in', async () => {
    const { fixture, requests } = await byHand(transport);
    const client = await fixture.client();
    const settled: number[] = [];
    const answers = Array.from({ length: 50 }, async (_, i) => {
      settled.push(readU32(await client.request(u32(i))));
    });
    await eventually('all came', () => requests.length === 50);
    for (let i = 49; i >= 0; i--) requests[i]!.respond(u32(i));
    await Promise.all(answers);
    expect(settled).toEqual([...Array(50).keys()]);
  });

  test('an answer without requestId belongs to the oldest request that is open', async () => {
    const { fixture, requests } = await byHand(transport);
    const raw = await fixture.raw();
    await ask(raw, 'a', 'b', 'c');
    await eventually('all came', () => requests.length === 3);
    const { clientId } = requests[0]!;
    requests[1]!.respond(bytesOf('B'));
    fixture.server.responses.next({ clientId, data: bytesOf('A') });
    fixture.server.responses.next({ clientId, data: bytesOf('C') });
    await eventually('all answers', () => answersOf(raw).length === 3);
    expect(answersOf(raw)).toEqual(['A', 'B', 'C']);
  });

  test('an empty answer is a message of no bytes; no answer is no message, and its place is passed over', async () => {
    const fixture = await serveWith(transport, (_id, request) => {
      const text = textOf(request);
      if (text === 'none') return undefined;
      return text === 'empty' ? new Uint8Array(0) : request;
    });
    const raw = await fixture.raw();
    await ask(raw, 'one', 'none', 'empty', 'none', 'two');
    await eventually('three answers', () => answersOf(raw).length === 3);
    expect(answersOf(raw)).toEqual(['one', '', 'two']);
    expect(fixture.server.stats).toMatchObject({ requests: 5, openRequests: 0 });
    expect(fixture.disconnects()).toEqual([]);
  });

  for (const [title, bad] of [
    [
      'a handler that throws',
      () => {
        throw new RangeError('out of range');
      },
    ],
    ['a handler that rejects', () => Promise.reject(new RangeError('out of range'))],
    ['a handler that answers with items', () => of(bytesOf('item'))],
  ] as const) {
    test(`${title}: earlier answers are flushed, then that connection closes, and others go on`, async () => {
      const gate = deferred();
      const fixture = await serveWith(transport, async (_id, request) => {
        const text = textOf(request);
        if (text === 'bad') return bad();
        if (text === 'slow') await gate.promise;
        return bytesOf(text);
      });
      const other = await fixture.client();
      const raw = await fixture.raw();
      await ask(raw, 'first', 'slow', 'bad', 'after');
      await eventually('all came', () => fixture.server.stats.requests === 4);
      expect(fixture.disconnects()).toEqual([]);
      gate.resolve();
      await raw.untilClosed();
      expect(answersOf(raw)).toEqual(['first', 'slow']);
      await eventually('it is told', () => fixture.disconnects().length === 1);
      expect((fixture.disconnects()[0] as Extract<ClientEvent, { type: 'disconnected' }>).error).toBeInstanceOf(Error);
      expect(textOf(await other.request(bytesOf('other')))).toBe('other');
      expect(fixture.server.stats.openRequests).toBe(0);
    });
  }

  test('a client whose connection closes this way learns that its server is gone', async () => {
    const { client } = await withClient(transport, (_id, request) => {
      if (textOf(request) === 'bad') throw new Error('bad');
      return request;
    });
    expect(textOf(await client.request(bytesOf('good')))).toBe('good');
    await expectCode(client.request(bytesOf('bad')), 'ERR_IPC_PEER_GONE');
    await eventually('the client is closed', () => stateOf(client) === 'closed');
  });

  test('what plain framing cannot express is refused at once with ERR_IPC_UNSUPPORTED', async () => {
    const { client, fixture } = await withClient(transport, echo);
    await client.request(bytesOf('announce'));
    const unsupported = expect.objectContaining({ code: 'ERR_IPC_UNSUPPORTED' });
    expect(() => client.trySend(u32(1))).toThrow(unsupported);
    await expectCode(client.send(u32(1)), 'ERR_IPC_UNSUPPORTED');
    await expectCode(lastValueFrom(client.request$(u32(1))), 'ERR_IPC_UNSUPPORTED');
    await expectCode(lastValueFrom(client.duplex$(u32(1), of(u32(2)))), 'ERR_IPC_UNSUPPORTED');
    await expectCode(client.request(u32(1), { metadata: new Map([['k', 'v']]) }), 'ERR_IPC_UNSUPPORTED');
    await expectCode(client.exchange(u32(1), { metadata: new Map() }), 'ERR_IPC_UNSUPPORTED');
    const { clientId } = fixture.events[0]!;
    expect(() => fixture.server.send(clientId, u32(1))).toThrow(unsupported);
    expect(fixture.server.broadcast(u32(1))).toBe(0);
    expect(textOf(await client.request(bytesOf('still')))).toBe('still');
    expect(fixture.server.stats).toMatchObject({ requests: 2, messages: 0, droppedPushes: 0 });
    expect(client.stats.pending).toBe(0);
  });

  test('the same is refused for calls that waited for the connection', async () => {
    const fixture = await serveWith(transport, echo);
    const client = fixture.idle();
    const connecting = client.connect();
    const failures = [
      failureOf(client.send(u32(1))),
      failureOf(lastValueFrom(client.request$(u32(1)))),
      failureOf(client.request(u32(1), { metadata: new Map([['k', 'v']]) })),
    ];
    await connecting;
    for (const failure of failures) expect(await failure).toMatchObject({ code: 'ERR_IPC_UNSUPPORTED' });
    expect(textOf(await client.request(bytesOf('still')))).toBe('still');
  });

  test('a call that is given up keeps its place: its late answer is discarded, the others get their own', async () => {
    const { fixture, requests } = await byHand(transport);
    const client = await fixture.client();
    const controller = new AbortController();
    const first = client.request(u32(1));
    const aborted = failureOf(client.request(u32(2), { signal: controller.signal }));
    const late = failureOf(client.request(u32(3), { timeoutMs: 20 }));
    const last = client.request(u32(4));
    await eventually('all came', () => requests.length === 4);
    controller.abort(new Error('enough'));
    expect(await aborted).toHaveProperty('message', 'enough');
    expect(await late).toMatchObject({ code: 'ERR_IPC_TIMEOUT' });
    // The server cannot be told.
    expect(requests.every(({ signal }) => !signal.aborted)).toBe(true);
    expect(client.stats.pending).toBe(4);
    for (const request of requests) request.respond(u32(readU32(request.span) * 10));
    expect(readU32(await first)).toBe(10);
    expect(readU32(await last)).toBe(40);
    expect(client.stats.pending).toBe(0);
  });

  test('a call that is given up before it was sent keeps no place', async () => {
    const { client } = await withClient(transport, echo, {}, { maxPending: 4096 });
    const payload = pattern(100_000);
    const controllers: AbortController[] = [];
    const calls = Array.from({ length: 60 }, (_, i) => {
      const own = payload.slice();
      own.set(u32(i));
      const controller = new AbortController();
      if (i % 3 === 1) controllers.push(controller);
      const call = client.request(own, { signal: controller.signal });
      return call.then(
        (answer) => readU32(answer) === i,
        () => i % 3 === 1,
      );
    });
    for (const controller of controllers) controller.abort();
    expect((await Promise.all(calls)).filter((each) => !each)).toEqual([]);
    await eventually('nothing is pending', () => client.stats.pending === 0);
  });

  test('at shutdown what runs is answered, then the connection closes', async () => {
    const { fixture, requests } = await byHand(transport);
    const raw = await fixture.raw();
    await ask(raw, 'a', 'b');
    await eventually('both came', () => requests.length === 2);
    fixture.server.requestShutdown();
    requests[1]!.respond(bytesOf('B'));
    expect(raw.closed).toBeUndefined();
    requests[0]!.respond(bytesOf('A'));
    await raw.untilClosed();
    expect(answersOf(raw)).toEqual(['A', 'B']);
    await fixture.server.closed;
  });

  test('a request over maxMessageBytes costs its connection, since there is no way to refuse it alone', async () => {
    const fixture = await serveWith(transport, echo, { maxMessageBytes: 1000 });
    const other = await fixture.client();
    const raw = await fixture.raw({ maxMessageBytes: 5000 });
    await ask(raw, 'first');
    await eventually('it is answered', () => answersOf(raw).length === 1);
    await raw.send(KIND_REQUEST, 0, pattern(1001));
    await raw.untilClosed();
    await eventually('it is told', () => fixture.disconnects().length === 1);
    expect(fixture.disconnects()[0]).toMatchObject({ error: { code: 'ERR_IPC_MESSAGE_TOO_LARGE' } });
    expect((await other.request(pattern(1000))).byteLength).toBe(1000);
  });

  test('answers that wait for their turn are bounded: the client is not read on meanwhile', async () => {
    const gate = deferred();
    const answer = pattern(10_000);
    const fixture = await serveWith(
      transport,
      (_id, request) => (textOf(request) === 'slow' ? gate.promise.then(() => answer) : answer),
      { responseWindowBytes: 64 * 1024 },
    );
    const other = await fixture.client();
    const client = await fixture.client({ maxPending: 4096 });
    const answers = [client.request(bytesOf('slow')), ...Array.from({ length: 500 }, (_, i) => client.request(u32(i)))];
    // The slow one, and seven that fill the window.
    await eventually('the first answers wait', () => fixture.server.stats.requests === 8);
    for (let i = 0; i < 20; i++) await other.request(u32(i));
    expect(fixture.server.stats.requests).toBe(8 + 20);
    gate.resolve();
    expect((await Promise.all(answers)).every((bytes) => bytes.byteLength === 10_000)).toBe(true);
  });
}
