/** Who is there: clients$, stats, state$, and clients that connect again. */
import { filter, firstValueFrom, lastValueFrom, NEVER, of, Subject } from 'rxjs';
import { expect, test } from 'vitest';
import type { ClientEvent, ClientState } from '../contract.ts';
import { SpanReleasedError } from '../errors.ts';
import { KIND_REQUEST } from '../frame.ts';
import { deferred, eventually, expectCode, failureOf } from './eventually.ts';
import { echo, listenWhenFree, serve, serveWith, stateOf, withClient } from './fixture.ts';
import { bytesOf, pattern, readU32, sameBytes, textOf, u32 } from './payloads.ts';
import type { TransportUnderTest } from './transport-under-test.ts';

export function describeClients(transport: TransportUnderTest): void {
  const { framing } = transport;

  test('clients$ tells who comes and leaves, and replays who is there', async () => {
    const fixture = await serveWith(transport, echo);
    const first = await fixture.client();
    await first.request(u32(1));
    const second = await fixture.client();
    await second.request(u32(1));
    const late: ClientEvent[] = [];
    fixture.server.clients$.subscribe((event) => late.push(event));
    expect(late).toEqual(fixture.events);
    expect(late.map(({ type }) => type)).toEqual(['connected', 'connected']);
    for (const event of late) expect(event).toMatchObject({ framing });
    await first.close();
    await eventually('it has left', () => late.length === 3);
    expect(late[2]).toEqual({
      type: 'disconnected',
      clientId: late[0]!.clientId,
      reason: 'closed',
      error: undefined,
    });
    const later: ClientEvent[] = [];
    fixture.server.clients$.subscribe((event) => later.push(event));
    expect(later.map(({ clientId }) => clientId)).toEqual([late[1]!.clientId]);
  });

  test('a client is announced before its first request, and its end comes after its last', async () => {
    const order: string[] = [];
    const fixture = await serve(transport);
    fixture.server.clients$.subscribe(({ type }) => order.push(type));
    fixture.server.respond((_id, request) => {
      order.push('request');
      return request;
    });
    const client = fixture.idle();
    const connecting = client.connect();
    await Promise.all([client.request(u32(1)), client.request(u32(2))]);
    await connecting;
    await client.close();
    await eventually('it has left', () => order.length === 4);
    expect(order).toEqual(['connected', 'request', 'request', 'disconnected']);
  });

  test('a client that breaks off is gone, which is not closed', async () => {
    const fixture = await serveWith(transport, echo);
    const raw = await fixture.raw();
    await raw.send(KIND_REQUEST, 1, u32(1));
    await eventually('it is answered', () => raw.received.length > 0);
    await raw.channel.close('gone');
    await eventually('it has left', () => fixture.disconnects().length === 1);
    // A plain peer that ends its stream between messages says all that plain framing can say.
    const reasons = framing === 'plain' ? ['gone', 'closed'] : ['gone'];
    expect(reasons).toContain((fixture.disconnects()[0] as { reason?: unknown }).reason);
    expect(fixture.server.stats.clients).toBe(0);
  });

  test('the server knows uid and pid of its clients, where the transport does', async () => {
    const fixture = await serveWith(transport, echo);
    const client = await fixture.client();
    await client.request(u32(1));
    const event = fixture.events[0] as Extract<ClientEvent, { type: 'connected' }>;
    if (transport.knowsPeers === true) expect(event.peer).toEqual({ uid: process.getuid?.(), pid: process.pid });
    else expect(event.peer).toBeUndefined();
  });

  test('stats count what happened', async () => {
    const gate = deferred();
    const fixture = await serveWith(transport, async (_id, request) => {
      await gate.promise;
      return new Uint8Array(request.byteLength * 2);
    });
    expect(fixture.server.stats).toEqual({
      clients: 0,
      openRequests: 0,
      requests: 0,
      responses: 0,
      messages: 0,
      droppedAnswers: 0,
      droppedPushes: 0,
      refused: 0,
      bytesIn: 0,
      bytesOut: 0,
    });
    const client = await fixture.client();
    const answers = [client.request(new Uint8Array(10)), client.request(new Uint8Array(20))];
    await eventually('both run', () => fixture.server.stats.openRequests === 2);
    expect(client.stats).toEqual({ pending: 2, droppedPushes: 0, reconnects: 0 });
    gate.resolve();
    await Promise.all(answers);
    expect(fixture.server.stats).toMatchObject({
      clients: 1,
      openRequests: 0,
      requests: 2,
      responses: 2,
      bytesIn: 30,
      bytesOut: 60,
    });
    expect(client.stats.pending).toBe(0);
  });

  test('state$ replays the current state, and completes when the client is closed', async () => {
    const fixture = await serveWith(transport, echo);
    const client = fixture.idle();
    const states: ClientState[] = [];
    let completed = false;
    client.state$.subscribe({ next: (state) => states.push(state), complete: () => (completed = true) });
    expect(states).toEqual(['idle']);
    const connecting = client.connect();
    expect(states).toEqual(['idle', 'connecting']);
    await connecting;
    expect(stateOf(client)).toBe('connected');
    await client.close();
    expect(states).toEqual(['idle', 'connecting', 'connected', 'closed']);
    expect(completed).toBe(true);
    expect(stateOf(client)).toBe('closed');
  });

  test('a client without a reconnect policy is closed when its server closes', async () => {
    const { client, server } = await withClient(transport, () => new Promise(() => undefined));
    const failure = failureOf(client.request(u32(1)));
    await eventually('it runs', () => server.stats.openRequests === 1);
    await server.close();
    await failure;
    await eventually('the client is closed', () => stateOf(client) === 'closed');
    await expect(client.request(u32(2))).rejects.toBeInstanceOf(Error);
    await expect(client.connect()).rejects.toBeInstanceOf(Error);
  });

  test('a client with a reconnect policy goes on with the next server, as a new client', async () => {
    const fixture = await serveWith(transport, (_id, request) => bytesOf(`first ${textOf(request)}`));
    const client = await fixture.client({ reconnect: { delaysMs: [1, 5] } });
    const states: ClientState[] = [];
    client.state$.subscribe((state) => states.push(state));
    expect(textOf(await client.request(bytesOf('a')))).toBe('first a');
    await fixture.server.close();
    await eventually('the client reconnects', () => states.includes('reconnecting'));
    // Waits for the next server.
    const waiting = client.request(bytesOf('b'));
    const late = expectCode(client.request(bytesOf('late'), { timeoutMs: 20 }), 'ERR_IPC_TIMEOUT');
    const connected = client.connect();
    await late;
    const second = fixture.another();
    const events: ClientEvent[] = [];
    second.clients$.subscribe((event) => events.push(event));
    await second.listen();
    second.respond((_id, request) => bytesOf(`second ${textOf(request)}`));
    expect(textOf(await waiting)).toBe('second b');
    await connected;
    expect(states.at(-1)).toBe('connected');
    expect(states.filter((state) => state === 'connected').length).toBe(2);
    expect(client.stats.reconnects).toBe(1);
    expect(events.length).toBe(1);
    expect(second.stats.requests).toBe(1);
    await client.close();
    expect(states.at(-1)).toBe('closed');
  });

  test('a client that reconnects can be closed while it waits', async () => {
    const fixture = await serveWith(transport, echo);
    const client = await fixture.client({ reconnect: { delaysMs: [2 ** 31 - 1] } });
    await client.request(u32(1));
    await fixture.server.close();
    await eventually('it reconnects', () => stateOf(client) === 'reconnecting');
    const waiting = failureOf(client.request(u32(2)));
    const connecting = failureOf(client.connect());
    await client.close();
    expect(await waiting).toMatchObject({ code: 'ERR_IPC_CLOSED' });
    expect(await connecting).toMatchObject({ code: 'ERR_IPC_CLOSED' });
  });

  if (framing === 'plain') return;

  test('the application bytes of the hello arrive with the client', async () => {
    const fixture = await serve(transport);
    const hello = pattern(16 * 1024);
    await fixture.client({ hello });
    await fixture.client();
    const [first, second] = fixture.events as Array<Extract<ClientEvent, { type: 'connected' }>>;
    expect(sameBytes(first!.hello!, hello)).toBe(true);
    expect(second!.hello).toBeUndefined();
    expect(() => fixture.idle({ hello: pattern(16 * 1024 + 1) })).toThrow(RangeError);
  });

  test('what was sent fails when its server goes, and is never sent again; what was not sent goes to the next', async () => {
    const seen: string[] = [];
    const fixture = await serve(transport, { windowBytes: 8 * 1024 });
    fixture.server.requests$.subscribe((request) => seen.push(`first ${textOf(request.span.subarray(0, 2))}`));
    const client = await fixture.client({ reconnect: { delaysMs: [1] } });
    const sized = (text: string): Uint8Array => {
      const payload = new Uint8Array(2000);
      payload.set(bytesOf(text));
      return payload;
    };
    const calls = Array.from({ length: 10 }, (_, i) =>
      client.request(sized(`r${i}`)).then(
        (answer) => textOf(answer),
        (error: { code?: unknown }) => String(error.code),
      ),
    );
    await eventually('the window is full', () => seen.length >= 3 && !client.trySend(new Uint8Array(0)));
    const stream = lastValueFrom(client.request$(sized('s0'))).then((item) => textOf(item));
    await fixture.server.close();
    const sent = seen.length;
    const second = fixture.another();
    await second.listen();
    second.respond((_id, request) => {
      const text = textOf(request.subarray(0, 2));
      seen.push(`second ${text}`);
      return bytesOf(text);
    });
    const outcomes = await Promise.all(calls);
    for (let i = 0; i < sent; i++) expect(outcomes[i]).toBe('ERR_IPC_CLOSED');
    const answered = outcomes.filter((outcome) => outcome.startsWith('r'));
    const failed = outcomes.filter((outcome) => outcome.startsWith('ERR_'));
    expect(answered.length + failed.length).toBe(10);
    expect(answered.length).toBeGreaterThan(0);
    for (const text of answered) expect(seen.filter((each) => each.endsWith(text))).toEqual([`second ${text}`]);
    // At most one was half sent, and those behind the window had come but were not taken.
    for (const code of failed) expect(['ERR_IPC_CLOSED', 'ERR_IPC_REFUSED', 'ERR_IPC_PEER_GONE']).toContain(code);
    expect(await stream).toBe('s0');
    expect(seen.filter((each) => each.endsWith('s0'))).toEqual(['second s0']);
  });

  test('a server that shuts down hands its clients over: running calls finish there, new ones go to the next', async () => {
    const gate = deferred();
    const fixture = await serveWith(transport, async () => {
      await gate.promise;
      return bytesOf('old');
    });
    const client = await fixture.client({ reconnect: { delaysMs: [1] } });
    const running = client.request(u32(1));
    const source = new Subject<Uint8Array>();
    await eventually('it runs', () => fixture.server.stats.openRequests === 1);
    // Until it knows, it may still ask the old one, and be refused.
    const knows = firstValueFrom(client.state$.pipe(filter((state) => state !== 'connected')));
    fixture.server.requestShutdown();
    const second = fixture.another();
    await listenWhenFree(second);
    await knows;
    second.respond((_id, request) => (textOf(request) === 'stream' ? source : bytesOf('new')));
    expect(textOf(await client.request(u32(2)))).toBe('new');
    const items: string[] = [];
    const subscription = client.request$(bytesOf('stream')).subscribe((item) => items.push(textOf(item)));
    await eventually('it streams from the new one', () => source.observed);
    source.next(bytesOf('item'));
    gate.resolve();
    expect(textOf(await running)).toBe('old');
    await fixture.server.closed;
    await eventually('the item came', () => items.length === 1);
    subscription.unsubscribe();
    expect(client.stats.reconnects).toBe(1);
  });

  test('streams and held replies end with their connection', async () => {
    const fixture = await serveWith(transport, (_id, request) =>
      textOf(request) === 'stream' ? NEVER : textOf(request) === 'items' ? of(request.slice()) : request,
    );
    const client = await fixture.client({ reconnect: { delaysMs: [1] } });
    const reply = await client.exchange(bytesOf('held'));
    expect(textOf(reply.span)).toBe('held');
    const failure = failureOf(lastValueFrom(client.request$(bytesOf('stream'))));
    await eventually('it is open', () => fixture.server.stats.openRequests === 1);
    await fixture.server.close();
    expect(await failure).toMatchObject({ code: 'ERR_IPC_CLOSED' });
    await eventually('the connection is gone', () => fixture.server.stats.clients === 0);
    await eventually('the span is detached', () => {
      try {
        return reply.span.byteLength < 0;
      } catch (error) {
        return error instanceof SpanReleasedError;
      }
    });
    reply.release();
    const second = fixture.another();
    await second.listen();
    second.respond(echo);
    expect(readU32(await client.request(u32(5)))).toBe(5);
  });
}
