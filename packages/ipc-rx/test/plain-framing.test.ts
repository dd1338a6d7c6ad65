import { createSocketClient, createSocketServer, type SocketServerOptions } from '@spanwire/ipc-socket';
import type { Bytes, ClientEvent, IpcClient, IpcRequest, IpcServer } from '@spanwire/ipc-core';
import {
  copied,
  createMeter,
  deadline,
  decode,
  encode,
  fairly,
  handle,
  json,
  limitInFlight,
  meter,
  perClient,
  shedLoad,
  toAsyncIterable,
  untilShutdown,
} from '@spanwire/ipc-rx';
import { filter, firstValueFrom, map, mergeMap, Subject, tap } from 'rxjs';
import { describe, expect, it } from 'vitest';
import { Log } from './support/log.ts';
import { bytes, text } from './support/text.ts';
import { temporaryFolder } from './support/transports.ts';

interface PlainScene extends AsyncDisposable {
  readonly server: IpcServer;
  connect(): Promise<IpcClient>;
}

/** A server with clients that know nothing but lengths and payloads. */
async function open(options?: SocketServerOptions): Promise<PlainScene> {
  const folder = await temporaryFolder();
  const address = `unix:${folder.path}/s`;
  const server = createSocketServer(address, options);
  await server.listen();
  const clients: IpcClient[] = [];
  return {
    server,
    connect: async () => {
      const client = createSocketClient(address, { framing: 'plain' });
      clients.push(client);
      await client.connect();
      return client;
    },
    [Symbol.asyncDispose]: async () => {
      await Promise.all(clients.map((client) => client.close()));
      await server.close();
      await folder[Symbol.asyncDispose]();
    },
  };
}

const leaves = (server: IpcServer): Promise<ClientEvent> =>
  firstValueFrom(server.clients$.pipe(filter(({ type }) => type === 'disconnected')));

describe('operators with plain clients', () => {
  it('work together, and answers keep the order of requests', async () => {
    await using scene = await open();
    const stop$ = new Subject<void>();
    const traffic = createMeter();
    const running = new Log<() => void>();
    scene.server.requests$
      .pipe(
        untilShutdown(stop$),
        meter(traffic),
        limitInFlight(4),
        fairly(),
        copied(),
        perClient(),
        mergeMap((client$) =>
          client$.pipe(
            handle(
              (_clientId, request) =>
                new Promise<Bytes>((resolve) => running.add(() => resolve(bytes(text(request).toUpperCase())))),
            ),
          ),
        ),
      )
      .subscribe(scene.server.responses);
    const client = await scene.connect();
    const replies = ['a', 'b', 'c', 'd', 'e', 'f'].map((each) => client.request(bytes(each)));
    await running.reaches(4);
    // Finished last first; the client still gets them in its order.
    for (const finish of running.entries.slice(0, 4).reverse()) finish();
    await running.reaches(6);
    for (const finish of running.entries.slice(4).reverse()) finish();
    expect((await Promise.all(replies)).map(text)).toEqual(['A', 'B', 'C', 'D', 'E', 'F']);
    expect(traffic.snapshot()).toMatchObject({ requests: 6, inFlight: 0 });
    stop$.next();
    await scene.server.closed;
  });

  it('can be looped over', async () => {
    await using scene = await open();
    const client = await scene.connect();
    const replies = ['1', '2', '3'].map((each) => client.request(bytes(each)));
    let served = 0;
    for await (const request of toAsyncIterable(scene.server.requests$)) {
      request.respond(request.span);
      if (++served === 3) break;
    }
    expect((await Promise.all(replies)).map(text)).toEqual(['1', '2', '3']);
  });

  it('what is shed is answered with bytes, if there are any', async () => {
    await using scene = await open();
    const client = await scene.connect();
    const running = new Log<() => void>();
    const arrived = new Log<IpcRequest>();
    scene.server.requests$
      .pipe(
        tap((request) => arrived.add(request)),
        shedLoad({ when: ({ inFlight }) => inFlight >= 1, respond: () => bytes('busy') }),
        handle((_clientId, request) => new Promise<Bytes>((resolve) => running.add(() => resolve(request)))),
      )
      .subscribe(scene.server.responses);
    const replies = ['first', 'second'].map((each) => client.request(bytes(each)));
    await arrived.reaches(2);
    running.entries[0]?.();
    expect((await Promise.all(replies)).map(text)).toEqual(['first', 'busy']);
  });

  it.each([
    ['what is shed without bytes', shedLoad({ when: () => true })],
    ['a deadline that passes', deadline(5)],
  ])('%s ends the connection, as any error does, and no other', async (_name, operator) => {
    await using scene = await open();
    scene.server.requests$
      .pipe(
        operator,
        handle(() => new Promise<Bytes>(() => undefined)),
      )
      .subscribe(scene.server.responses);
    const [client, other] = [await scene.connect(), await scene.connect()];
    const left = leaves(scene.server);
    const reply = client.request(bytes('?'));
    await expect(reply).rejects.toMatchObject({ code: 'ERR_IPC_PEER_GONE' });
    expect(await left).toMatchObject({ clientId: 1 });
    expect(await firstValueFrom(other.state$)).toBe('connected');
  });

  it('bytes that cannot be decoded end the connection after the answers before them', async () => {
    await using scene = await open();
    scene.server.requests$
      .pipe(
        decode(json),
        map(({ clientId, requestId, value }) => ({ clientId, requestId, value })),
        encode(json),
      )
      .subscribe(scene.server.responses);
    const client = await scene.connect();
    const good = client.request(bytes('[1]'));
    const bad = client.request(bytes('{'));
    // It may fail in the same turn.
    bad.catch(() => undefined);
    expect(text(await good)).toBe('[1]');
    await expect(bad).rejects.toMatchObject({ code: 'ERR_IPC_PEER_GONE' });
  });
});
