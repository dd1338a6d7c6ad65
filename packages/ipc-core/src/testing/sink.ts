/** The sink: what answers do to requests, and what a failing pipeline does to the server. */
import { catchError, map, mergeMap, of, Subject, timer } from 'rxjs';
import { expect, test } from 'vitest';
import type { IpcClient, IpcRequest, IpcResponse, IpcServer } from '../contract.ts';
import { IpcError, ShutdownRequested, SpanReleasedError } from '../errors.ts';
import { deferred, eventually, failureOf } from './eventually.ts';
import { serve, serveWith, stateOf, withClient, type Fixture } from './fixture.ts';
import { bytesOf, pattern, readU32, sameBytes, textOf, u32 } from './payloads.ts';
import type { TransportUnderTest } from './transport-under-test.ts';

interface ByHand {
  readonly fixture: Fixture;
  readonly server: IpcServer;
  readonly client: IpcClient;
  /** All requests that came. */
  readonly requests: IpcRequest[];
  readonly arrive: (count: number) => Promise<void>;
}

/** A server whose requests a test answers by hand, and a client. */
async function byHand(transport: TransportUnderTest): Promise<ByHand> {
  const fixture = await serve(transport);
  const requests: IpcRequest[] = [];
  fixture.server.requests$.subscribe((request) => requests.push(request));
  const client = await fixture.client();
  const arrive = async (count: number): Promise<void> =>
    eventually(`${count} requests`, () => requests.length === count);
  return { fixture, server: fixture.server, requests, client, arrive };
}

export function describeSink(transport: TransportUnderTest): void {
  test('answering releases the request: its span throws SpanReleasedError afterwards', async () => {
    const { client, requests, arrive, server } = await byHand(transport);
    const answer = client.request(pattern(40));
    await arrive(1);
    const [request] = requests as [IpcRequest];
    expect(sameBytes(request.span, pattern(40))).toBe(true);
    server.responses.next({ clientId: request.clientId, requestId: request.requestId, data: bytesOf('done') });
    expect(() => request.span).toThrow(SpanReleasedError);
    request.release();
    expect(textOf(await answer)).toBe('done');
    expect(server.stats.openRequests).toBe(0);
  });

  test('a request may be released before it is answered, and more than once', async () => {
    const { client, requests, arrive } = await byHand(transport);
    const answer = client.request(pattern(40));
    await arrive(1);
    requests[0]!.release();
    requests[0]!.release();
    expect(() => requests[0]!.span).toThrow(SpanReleasedError);
    expect(requests[0]!.respond(bytesOf('later'))).toBe(true);
    expect(textOf(await answer)).toBe('later');
  });

  test('a spread of a request has its ids and nothing else', async () => {
    const { client, requests, arrive, server } = await byHand(transport);
    const answer = client.request(bytesOf('x'));
    await arrive(1);
    const spread = { ...requests[0]! };
    expect(Object.keys(spread).sort()).toEqual(['clientId', 'requestId']);
    server.responses.next({ ...requests[0]!, data: bytesOf('spread') });
    expect(textOf(await answer)).toBe('spread');
  });

  test('a second answer returns false, is counted, and reaches nobody', async () => {
    const { client, requests, arrive, server } = await byHand(transport);
    const first = client.request(u32(1));
    await arrive(1);
    expect(requests[0]!.respond(u32(10))).toBe(true);
    expect(requests[0]!.respond(u32(11))).toBe(false);
    server.responses.next({ ...requests[0]!, data: u32(12) });
    server.responses.next({ ...requests[0]!, error: new Error('too late') });
    server.responses.next({ ...requests[0]! });
    expect(server.stats.droppedAnswers).toBe(4);
    expect(readU32(await first)).toBe(10);
    const second = client.request(u32(2));
    await arrive(2);
    requests[1]!.respond(u32(20));
    expect(readU32(await second)).toBe(20);
  });

  test('answers for a client that left are dropped and counted, and its requests are released', async () => {
    const { client, requests, arrive, server, fixture } = await byHand(transport);
    const pending = Promise.allSettled([client.request(u32(1)), client.request(u32(2))]);
    await arrive(2);
    await client.close();
    await pending;
    await eventually('the server notices', () => fixture.disconnects().length === 1);
    expect(() => requests[0]!.span).toThrow(SpanReleasedError);
    expect(requests[0]!.respond(u32(1))).toBe(false);
    server.responses.next({ clientId: requests[1]!.clientId, requestId: requests[1]!.requestId, data: u32(2) });
    server.responses.next({ clientId: requests[1]!.clientId, data: u32(2) });
    expect(server.stats).toMatchObject({ clients: 0, openRequests: 0, droppedAnswers: 3 });
    const other = await fixture.client();
    const answer = other.request(u32(3));
    await arrive(3);
    expect(requests[2]!.clientId).not.toBe(requests[0]!.clientId);
    requests[2]!.respond(u32(30));
    expect(readU32(await answer)).toBe(30);
  });

  test('the signal of a request aborts when its client leaves', async () => {
    const { client, requests, arrive } = await byHand(transport);
    const pending = Promise.allSettled([client.request(u32(1)), client.request(u32(2))]);
    await arrive(2);
    const before = requests[0]!.signal;
    expect(before.aborted).toBe(false);
    await client.close();
    await pending;
    await eventually('the signal aborts', () => before.aborted);
    // Made on first use, also after the fact.
    expect(requests[1]!.signal.aborted).toBe(true);
    expect(before.reason).toMatchObject({ code: 'ERR_IPC_PEER_GONE' });
  });

  test('ShutdownRequested answers its request, lets the others finish, and shuts down', async () => {
    const gate = deferred();
    const fixture = await serveWith(transport, async (_id, request) => {
      const text = textOf(request);
      if (text === 'quit') throw new ShutdownRequested(bytesOf('bye'));
      await gate.promise;
      return bytesOf(text);
    });
    const client = await fixture.client();
    // Another client, since plain framing keeps the order of one client's answers.
    const other = await fixture.client();
    const running = other.request(bytesOf('running'));
    await eventually('it runs', () => fixture.server.stats.openRequests === 1);
    expect(textOf(await client.request(bytesOf('quit')))).toBe('bye');
    gate.resolve();
    expect(textOf(await running)).toBe('running');
    await fixture.server.closed;
  });

  test('the complete() of the sink is a shutdown', async () => {
    const { client, server } = await withClient(transport, (_id, request) => request);
    await client.request(u32(1));
    server.responses.complete();
    await server.closed;
    await eventually('the client is told', () => stateOf(client) === 'closed');
  });

  test('the error() of the sink closes the server with that reason, and clients are told', async () => {
    const { client, server, arrive } = await byHand(transport);
    const failure = failureOf(client.request(u32(1)));
    await arrive(1);
    const reason = new Error('the pipeline broke');
    server.responses.error(reason);
    await expect(server.closed).rejects.toBe(reason);
    expect(await failure).toHaveProperty(
      'code',
      transport.framing === 'plain' ? 'ERR_IPC_PEER_GONE' : 'ERR_IPC_CLOSED',
    );
  });

  test('an operator that throws closes the server with what it threw, and requests$ completes', async () => {
    const fixture = await serve(transport);
    const reason = new Error('map threw');
    let completed = false;
    const source = new Subject<IpcRequest>();
    source.subscribe({ complete: () => (completed = true) });
    fixture.server.requests$.subscribe(source);
    source
      .pipe(
        map((request): IpcResponse => {
          if (readU32(request.span) === 3) throw reason;
          return { ...request, data: request.span };
        }),
      )
      .subscribe(fixture.server.responses);
    const client = await fixture.client();
    for (const i of [1, 2]) expect(readU32(await client.request(u32(i)))).toBe(i);
    const failure = failureOf(client.request(u32(3)));
    await expect(fixture.server.closed).rejects.toBe(reason);
    expect(await failure).toBeInstanceOf(IpcError);
    expect(completed).toBe(true);
  });

  test('an answer without requestId belongs to the only open request of its client', async () => {
    const { client, requests, arrive, server } = await byHand(transport);
    for (let i = 0; i < 5; i++) {
      const answer = client.request(u32(i));
      await arrive(i + 1);
      server.responses.next({ clientId: requests[i]!.clientId, data: u32(i + 100) });
      expect(readU32(await answer)).toBe(i + 100);
    }
  });

  for (const { title, make } of senseless(transport)) {
    test(`${title} closes the server with a TypeError`, async () => {
      const { client, requests, arrive, server, fixture } = await byHand(transport);
      const other = await fixture.client();
      const pending = Promise.allSettled([client.request(u32(1)), client.request(u32(2)), other.request(u32(3))]);
      await arrive(3);
      const mine = requests.filter((request) => readU32(request.span) < 3) as [IpcRequest, IpcRequest];
      const others = requests.find((request) => readU32(request.span) === 3)!;
      server.responses.next(make(mine, others) as IpcResponse);
      await expect(server.closed).rejects.toBeInstanceOf(TypeError);
      await expect(server.closed).rejects.toThrow(/^Expected /);
      for (const result of await pending) expect(result.status).toBe('rejected');
      await eventually('both clients are told', () => stateOf(client) === 'closed' && stateOf(other) === 'closed');
    });
  }

  if (transport.framing === 'plain') return;

  test('an answer with an error rejects the request with it', async () => {
    const { client, requests, arrive, server } = await byHand(transport);
    const failure = failureOf(client.request(u32(1)));
    await arrive(1);
    server.responses.next({ ...requests[0]!, error: new RangeError('out of range') });
    expect(await failure).toMatchObject({
      code: 'ERR_IPC_REMOTE',
      remote: { name: 'RangeError', message: 'out of range' },
    });
  });

  test('ShutdownRequested as the error of an answer, with and without a response, shuts down as well', async () => {
    for (const response of [bytesOf('bye'), undefined]) {
      const { client, requests, arrive, server } = await byHand(transport);
      const answer = client.request(u32(1)).then(
        (bytes) => textOf(bytes),
        (error: { code?: unknown }) => error.code,
      );
      await arrive(1);
      server.responses.next({ ...requests[0]!, error: new ShutdownRequested(response) });
      expect(await answer).toBe(response === undefined ? 'ERR_IPC_REMOTE' : 'bye');
      await server.closed;
    }
  });

  test('a second answer to a request that streams already returns false, and the stream goes on', async () => {
    const { client, requests, arrive, server } = await byHand(transport);
    const items = new Subject<Uint8Array>();
    const received: string[] = [];
    const ended = deferred();
    client.request$(u32(1)).subscribe({
      next: (item) => received.push(textOf(item)),
      error: (error: unknown) => ended.reject(error),
      complete: () => ended.resolve(),
    });
    await arrive(1);
    server.responses.next({ ...requests[0]!, items });
    items.next(bytesOf('one'));
    await eventually('the first item', () => received.length === 1);
    expect(requests[0]!.respond(bytesOf('second answer'))).toBe(false);
    server.responses.next({ ...requests[0]!, error: new Error('third answer') });
    server.responses.next({ ...requests[0]!, items: of(bytesOf('fourth answer')) });
    expect(server.stats.droppedAnswers).toBe(3);
    items.next(bytesOf('two'));
    items.complete();
    await ended.promise;
    expect(received).toEqual(['one', 'two']);
  });

  test('a pipeline that catches its errors per request keeps its server', async () => {
    const fixture = await serve(transport);
    fixture.server.requests$
      .pipe(
        mergeMap((request) =>
          timer(0).pipe(
            map((): IpcResponse => {
              const value = readU32(request.span);
              if (value % 2 === 1) throw new Error('odd');
              return { ...request, data: u32(value) };
            }),
            catchError((error: unknown) => of<IpcResponse>({ ...request, error })),
          ),
        ),
      )
      .subscribe(fixture.server.responses);
    const client = await fixture.client();
    const results = await Promise.allSettled(Array.from({ length: 20 }, (_, i) => client.request(u32(i))));
    expect(results.map((result) => result.status === 'fulfilled')).toEqual(results.map((_, i) => i % 2 === 0));
  });
}

type Senseless = (mine: readonly [IpcRequest, IpcRequest], others: IpcRequest) => unknown;

/** Answers that make no sense, to one of two open requests of a client, while another client has one as well. */
function senseless(transport: TransportUnderTest): Array<{ title: string; make: Senseless }> {
  const data = u32(0);
  const cases: Array<[string, Senseless]> = [
    ['an answer to a client that never was', () => ({ clientId: 999_999, requestId: 1, data })],
    ['an answer to a client id that is none', () => ({ clientId: '1', data })],
    ['an answer to a request that never was', ([{ clientId }]) => ({ clientId, requestId: 999_999, data })],
    ['an answer to a request id that is none', ([{ clientId }]) => ({ clientId, requestId: 0.5, data })],
    ["an answer to another client's request", ([{ clientId }], { requestId }) => ({ clientId, requestId, data })],
    ['an answer whose data is no bytes', ([request]) => ({ ...request, data: 'text' })],
    ['an answer with data and an error', ([request]) => ({ ...request, data, error: new Error('both') })],
    ['an answer with data and items', ([request]) => ({ ...request, data, items: of(data) })],
    ['null for an answer', () => null],
    ['bytes for an answer', () => data],
  ];
  if (transport.framing === 'spanwire') {
    cases.push(['an answer without requestId while two requests are open', ([{ clientId }]) => ({ clientId, data })]);
  }
  return cases.map(([title, make]) => ({ title, make }));
}
