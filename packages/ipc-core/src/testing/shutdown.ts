/** Shutdown: what runs finishes, what has not started is refused. */
import { concat, lastValueFrom, NEVER, of, Subject, toArray } from 'rxjs';
import { expect, test } from 'vitest';
import type { ClientState, IpcRequest } from '../contract.ts';
import { IpcError } from '../errors.ts';
import { KIND_GOAWAY, KIND_REQUEST } from '../frame.ts';
import { deferred, eventually, expectCode, failureOf } from './eventually.ts';
import { echo, serve, serveWith, stateOf, withClient, type Fixture } from './fixture.ts';
import { bytesOf, readU32, textOf, u32 } from './payloads.ts';
import type { TransportUnderTest } from './transport-under-test.ts';

function codeOf(error: unknown): unknown {
  return error instanceof IpcError ? error.code : error;
}

export function describeShutdown(transport: TransportUnderTest): void {
  const { framing } = transport;

  test('a shutdown lets running requests finish, completes requests$, and closes the clients', async () => {
    const gate = deferred();
    const fixture = await serve(transport);
    let running = 0;
    let completed = false;
    fixture.server.requests$.subscribe({
      next: (request) => {
        running++;
        void gate.promise.then(() => request.respond(request.span));
      },
      complete: () => (completed = true),
    });
    const client = await fixture.client();
    const answers = Array.from({ length: 20 }, (_, i) => client.request(u32(i)));
    await eventually('all run', () => running === 20);
    fixture.server.requestShutdown();
    fixture.server.requestShutdown();
    expect(completed).toBe(true);
    gate.resolve();
    expect((await Promise.all(answers)).map((answer) => readU32(answer))).toEqual([...Array(20).keys()]);
    await fixture.server.closed;
    await eventually('the client is closed', () => stateOf(client) === 'closed');
    expect(fixture.disconnects()).toMatchObject([{ reason: 'shutdown' }]);
    expect(fixture.server.stats).toMatchObject({ clients: 0, openRequests: 0, refused: 0, droppedAnswers: 0 });
  });

  test('a handler that asks for the shutdown and returns at once has its answer delivered', async () => {
    const fixture = await serve(transport);
    fixture.server.respond((_clientId, request) => {
      fixture.server.requestShutdown();
      return request;
    });
    const client = await fixture.client();
    expect(readU32(await client.request(u32(7)))).toBe(7);
    await fixture.server.closed;
  });

  test('a thousand requests in flight at shutdown: each is answered or fails with the right code, none is lost', async () => {
    const fixture = await serve(transport, { maxInFlight: 64 });
    const held: IpcRequest[] = [];
    fixture.server.requests$.subscribe((request) => held.push(request));
    const clients = await Promise.all(Array.from({ length: 4 }, () => fixture.client()));
    const calls = clients.flatMap((client) =>
      Array.from({ length: 250 }, (_, i) =>
        client.request(u32(i)).then(
          (answer) => (readU32(answer) === i ? 'answered' : 'mixed up'),
          (error: unknown) => codeOf(error),
        ),
      ),
    );
    await eventually('as many run as may', () => held.length === 4 * 64);
    fixture.server.requestShutdown();
    for (const request of held) request.respond(request.span);
    const outcomes = await Promise.all(calls);
    await fixture.server.closed;
    const count = (outcome: unknown): number => outcomes.filter((each) => each === outcome).length;
    expect(count('answered')).toBe(4 * 64);
    // Plain framing has no way to say why.
    expect(count(framing === 'plain' ? 'ERR_IPC_PEER_GONE' : 'ERR_IPC_REFUSED')).toBe(1000 - 4 * 64);
    expect(held.length).toBe(4 * 64);
    expect(fixture.server.stats).toMatchObject({ requests: 4 * 64, responses: 4 * 64 });
    expect(fixture.server.stats.refused).toBeLessThanOrEqual(1000 - 4 * 64);
  });

  test('what still runs after graceMs fails, and the server is closed', async () => {
    const aborted: unknown[] = [];
    const { client, server } = await withClient(transport, (_id, _request, info) => {
      info.signal.addEventListener('abort', () => aborted.push(codeOf(info.signal.reason)));
      return new Promise(() => undefined);
    });
    const failures = [failureOf(client.request(u32(1))), failureOf(client.request(u32(2)))];
    await eventually('both run', () => server.stats.openRequests === 2);
    server.requestShutdown({ graceMs: 20 });
    await server.closed;
    for (const failure of failures) {
      expect(codeOf(await failure)).toBe(framing === 'plain' ? 'ERR_IPC_PEER_GONE' : 'ERR_IPC_CLOSED');
    }
    expect(aborted).toEqual(['ERR_IPC_CLOSED', 'ERR_IPC_CLOSED']);
  });

  test('a second shutdown with a shorter graceMs counts', async () => {
    const { client, server } = await withClient(transport, () => new Promise(() => undefined));
    const failure = failureOf(client.request(u32(1)));
    await eventually('it runs', () => server.stats.openRequests === 1);
    server.requestShutdown({ graceMs: 2 ** 31 - 1 });
    server.requestShutdown({ graceMs: 0 });
    await server.closed;
    expect(await failure).toBeInstanceOf(IpcError);
    expect(() => server.requestShutdown({ graceMs: -1 })).toThrow(RangeError);
  });

  test('close() does not wait for what runs', async () => {
    const { client, server } = await withClient(transport, () => new Promise(() => undefined));
    const failure = failureOf(client.request(u32(1)));
    await eventually('it runs', () => server.stats.openRequests === 1);
    await server.close();
    await server.close();
    await server.closed;
    expect(codeOf(await failure)).toBe(framing === 'plain' ? 'ERR_IPC_PEER_GONE' : 'ERR_IPC_CLOSED');
  });

  test('answers that were given before close() arrive', async () => {
    const fixture = await serve(transport);
    const held: IpcRequest[] = [];
    fixture.server.requests$.subscribe((request) => held.push(request));
    const client = await fixture.client({ responseWindowBytes: 8 * 1024 });
    const answers = Array.from({ length: 50 }, () => client.request(new Uint8Array(1000)));
    await eventually('all came', () => held.length === 50);
    for (const request of held) request.respond(request.span);
    // Most of them wait for room.
    await fixture.server.close();
    for (const answer of await Promise.all(answers)) expect(answer.byteLength).toBe(1000);
  });

  test('whoever comes after a shutdown is turned away, and the address is free for the next server', async () => {
    const gate = deferred();
    const fixture = await serveWith(transport, async (_id, request) => {
      await gate.promise;
      return request;
    });
    const client = await fixture.client();
    const answer = client.request(u32(1));
    await eventually('it runs', () => fixture.server.stats.openRequests === 1);
    fixture.server.requestShutdown();
    const late = fixture.idle();
    const failure = codeOf(await failureOf(connectAndAsk(late)));
    expect(['ERR_IPC_PEER_GONE', 'ERR_IPC_REFUSED']).toContain(failure);
    gate.resolve();
    expect(readU32(await answer)).toBe(1);
    await fixture.server.closed;
    const next = fixture.another();
    await next.listen();
    next.respond(echo);
    const again = await fixture.client();
    expect(readU32(await again.request(u32(2)))).toBe(2);
  });

  if (framing === 'plain') return;

  test('a client learns of a shutdown: new calls are refused, running ones finish, then it is closed', async () => {
    const gate = deferred();
    const { client, server } = await withClient(transport, async (_id, request) => {
      await gate.promise;
      return request;
    });
    const states: ClientState[] = [];
    client.state$.subscribe((state) => states.push(state));
    const answer = client.request(u32(1));
    await eventually('it runs', () => server.stats.openRequests === 1);
    server.requestShutdown();
    await eventually('the client drains', () => states.includes('draining'));
    await expectCode(client.request(u32(2)), 'ERR_IPC_REFUSED');
    await expectCode(client.send(u32(2)), 'ERR_IPC_REFUSED');
    await expectCode(client.connect(), 'ERR_IPC_REFUSED');
    gate.resolve();
    expect(readU32(await answer)).toBe(1);
    await eventually('the client is closed', () => states.at(-1) === 'closed');
    expect(states).toEqual(['connected', 'draining', 'closed']);
    await expectCode(client.request(u32(3)), 'ERR_IPC_PEER_GONE');
    await server.closed;
  });

  test('requests that nobody took are refused at shutdown, and counted', async () => {
    const fixture = await serve(transport);
    const client = await fixture.client();
    const failures = Array.from({ length: 30 }, (_, i) => failureOf(client.request(u32(i))));
    const stream = failureOf(lastValueFrom(client.request$(u32(1))));
    // A message shows that what was sent before it has come.
    await client.send(bytesOf('last'));
    const messages: string[] = [];
    fixture.server.messages$.subscribe(({ data }) => messages.push(textOf(data)));
    await eventually('all came', () => messages.length === 1);
    fixture.server.requestShutdown();
    for (const failure of [...failures, stream]) expect(codeOf(await failure)).toBe('ERR_IPC_REFUSED');
    await fixture.server.closed;
    expect(fixture.server.stats).toMatchObject({ refused: 31, requests: 0 });
  });

  test('streams run on through a shutdown until they end', async () => {
    const source = new Subject<Uint8Array>();
    const { client, server } = await withClient(transport, () => source);
    const items = lastValueFrom(client.request$(u32(0)).pipe(toArray()));
    await eventually('it is subscribed', () => source.observed);
    source.next(u32(1));
    server.requestShutdown();
    source.next(u32(2));
    await eventually('the client drains', () => stateOf(client) === 'draining');
    source.next(u32(3));
    source.complete();
    expect((await items).map((item) => readU32(item))).toEqual([1, 2, 3]);
    await server.closed;
  });

  test('streams that run longer than graceMs end with ERR_IPC_CLOSED', async () => {
    const { client, server } = await withClient(transport, () => concat(of(u32(1)), NEVER));
    const failure = failureOf(lastValueFrom(client.request$(u32(0))));
    await eventually('it runs', () => server.stats.openRequests === 1);
    server.requestShutdown({ graceMs: 10 });
    expect(codeOf(await failure)).toBe('ERR_IPC_CLOSED');
    await server.closed;
  });

  test('a client that does not heed the goaway does not hold the shutdown beyond graceMs', async () => {
    const fixture = await serveWith(transport, echo);
    const raw = await fixture.raw();
    await raw.send(KIND_REQUEST, 1);
    await raw.untilEnded(1);
    fixture.server.requestShutdown({ graceMs: 20 });
    await eventually('the goaway came', () => raw.ofKind(KIND_GOAWAY).length > 0);
    await raw.send(KIND_REQUEST, 2);
    await eventually('it is refused', () => raw.errorCode(2) === 'ERR_IPC_REFUSED' || raw.closed !== undefined);
    await fixture.server.closed;
    await raw.untilClosed();
  });

  test('one-way messages that were sent before a shutdown are delivered', async () => {
    const fixture = await serve(transport);
    const client = await fixture.client();
    for (let i = 0; i < 50; i++) await client.send(u32(i));
    const messages: number[] = [];
    let completed = false;
    fixture.server.requestShutdown();
    fixture.server.messages$.subscribe({
      next: ({ data }) => messages.push(readU32(data)),
      complete: () => (completed = true),
    });
    await fixture.server.closed;
    expect(messages).toEqual([...Array(50).keys()]);
    expect(completed).toBe(true);
  });
}

async function connectAndAsk(client: Awaited<ReturnType<Fixture['client']>>): Promise<void> {
  await client.connect();
  // A plain client cannot be turned away before it has asked.
  await client.request(u32(0));
}
