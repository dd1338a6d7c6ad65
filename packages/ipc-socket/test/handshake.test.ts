import { once } from 'node:events';
import { createServer, type Socket } from 'node:net';
import { decodeHello, encodeHello, IpcError, type IpcServer, type ClientEvent } from '@spanwire/ipc-core';
import * as fc from 'fast-check';
import { firstValueFrom, filter } from 'rxjs';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { createSocketClient, createSocketServer, type SocketServerOptions } from '../src/index.ts';
import { makePath } from './support/place.ts';
import { connectRaw, HELLO, type RawPeer } from './support/raw.ts';
import { concat, cut, encodeFrame, encodePlain, pattern } from './support/wire.ts';

async function echoServer(path: string, options: SocketServerOptions = {}): Promise<IpcServer> {
  const server = createSocketServer(path, options);
  onTestFinished(() => server.close());
  server.respond((_clientId, request) => request);
  await server.listen();
  return server;
}

/** A server of bytes, and the first connection to it. */
async function rawServer(path: string, onConnection: (socket: Socket) => void): Promise<void> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    onConnection(socket);
  });
  onTestFinished(() => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });
  server.listen(path);
  await once(server, 'listening');
}

async function writeSlowly(peer: RawPeer, bytes: Uint8Array): Promise<void> {
  for (const chunk of cut(bytes, [1])) await new Promise((resolve) => peer.socket.write(chunk, resolve));
}

describe('a server that is greeted', () => {
  test('answers with its own hello and takes frames behind it', async () => {
    const path = makePath();
    await echoServer(path, { windowBytes: 100_000, maxMessageBytes: 5_000, hello: pattern(3) });
    const peer = await connectRaw(path);
    peer.socket.write(concat([encodeHello(HELLO), encodeFrame({ kind: 0, id: 9, flags: 0, payload: pattern(10) })]));
    const hello = decodeHello(await peer.readHello());
    expect(hello).toMatchObject({ windowBytes: 100_000, maxMessageBytes: 5_000, application: pattern(3) });
    const frame = await peer.readFrame();
    expect(frame).toMatchObject({ kind: 4, id: 9 });
    expect(frame.payload).toEqual(pattern(10));
  });

  test('understands a hello that comes one byte at a time', async () => {
    const path = makePath();
    await echoServer(path);
    const peer = await connectRaw(path);
    await writeSlowly(
      peer,
      concat([encodeHello(HELLO), encodeFrame({ kind: 0, id: 1, flags: 0, payload: pattern(2) })]),
    );
    await peer.readHello();
    expect((await peer.readFrame()).payload).toEqual(pattern(2));
  });

  test('understands a plain peer that sends one byte at a time', async () => {
    const path = makePath();
    await echoServer(path);
    const peer = await connectRaw(path);
    await writeSlowly(peer, concat([encodePlain(pattern(7)), encodePlain(pattern(0)), encodePlain(pattern(3))]));
    expect(await peer.readPlain()).toEqual(pattern(7));
    expect(await peer.readPlain()).toEqual(pattern(0));
    expect(await peer.readPlain()).toEqual(pattern(3));
  });

  test('refuses another version with ERR_IPC_VERSION', async () => {
    const path = makePath();
    await echoServer(path);
    const peer = await connectRaw(path);
    const hello = encodeHello(HELLO);
    new DataView(hello.buffer).setUint16(8, 99, true);
    peer.socket.write(hello);
    const answer = decodeHello(await peer.readHello());
    expect(answer.refusal?.code).toBe('ERR_IPC_VERSION');
    expect(await peer.readToEnd()).toEqual(new Uint8Array(0));
  });

  test('refuses clients beyond maxClients with ERR_IPC_OVERLOADED, and plain ones by closing', async () => {
    const path = makePath();
    await echoServer(path, { maxClients: 1 });
    const first = await connectRaw(path);
    first.socket.write(encodeHello(HELLO));
    await first.readHello();
    const second = createSocketClient(path);
    await expect(second.connect()).rejects.toMatchObject({ code: 'ERR_IPC_OVERLOADED' });
    const third = await connectRaw(path);
    third.socket.write(encodePlain(pattern(1)));
    expect(await third.readToEnd()).toEqual(new Uint8Array(0));
  });

  test.each([
    ['a first word from 2^30 on that is not the magic', Uint8Array.of(0, 0, 0, 0x40, 1, 2, 3, 4)],
    ['a first word of 2^32 - 1', Uint8Array.of(255, 255, 255, 255)],
    ['a magic that goes wrong after its first word', concat([encodeHello(HELLO).slice(0, 6), pattern(20, 99)])],
    ['a hello over 32 KiB', withU32(encodeHello(HELLO), 12, 40_000)],
    ['a hello whose fields are broken', withU32(encodeHello(HELLO), 16, 0xffff_0001)],
    ['a window below 8 KiB', encodeHello({ ...HELLO, windowBytes: 8191 })],
  ])('closes on %s, and serves the others', async (_what, bytes) => {
    const path = makePath();
    const server = await echoServer(path);
    const peer = await connectRaw(path);
    peer.socket.write(bytes);
    expect(await peer.readToEnd()).toEqual(new Uint8Array(0));
    expect(server.stats.clients).toBe(0);
    const other = await connectRaw(path);
    other.socket.write(encodePlain(pattern(4)));
    expect(await other.readPlain()).toEqual(pattern(4));
  });

  test('gives a hello only so long from its first byte on, and a silent plain peer all the time it wants', async () => {
    const path = makePath();
    await echoServer(path, { handshakeTimeoutMs: 40 });
    const silent = await connectRaw(path);
    for (const start of [encodeHello(HELLO).slice(0, 1), encodeHello(HELLO).slice(0, 20)]) {
      const slow = await connectRaw(path);
      slow.socket.write(start);
      expect(await slow.readToEnd()).toEqual(new Uint8Array(0));
    }
    // By now the silent one is older than the two that were given up.
    silent.socket.write(encodePlain(pattern(5)));
    expect(await silent.readPlain()).toEqual(pattern(5));
  });

  test('forgets those who connect and leave without a word', async () => {
    const path = makePath();
    const server = await echoServer(path);
    for (let i = 0; i < 20; i++) {
      const peer = await connectRaw(path);
      peer.socket.end();
      await peer.readToEnd();
    }
    expect(server.stats.clients).toBe(0);
  });
});

describe('a server among hostile peers', () => {
  test('drops each of them, serves the others meanwhile, and keeps nothing', async () => {
    const path = makePath();
    const server = await echoServer(path, { maxMessageBytes: 64 * 1024 });
    const client = createSocketClient(path);
    onTestFinished(() => client.close());
    await client.connect();
    const frame = fc
      .tuple(fc.nat(15), fc.nat(20), fc.nat(3), fc.uint8Array({ maxLength: 80 }))
      .map(([kind, id, flags, payload]) => encodeFrame({ kind, id, flags, payload }));
    const noise = fc.oneof(
      fc.uint8Array({ maxLength: 200 }),
      fc.array(frame, { maxLength: 10 }).map(concat),
      fc.array(fc.uint8Array({ maxLength: 50 }).map(encodePlain), { maxLength: 10 }).map(concat),
    );
    const hostile = fc.record({
      hello: fc.constantFrom(encodeHello(HELLO), encodeHello(HELLO).slice(0, 30), new Uint8Array(0)),
      noise,
      leave: fc.constantFrom('end', 'destroy'),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(hostile, { minLength: 1, maxLength: 5 }), async (attack) => {
        const peers = await Promise.all(
          attack.map(async (peer) => {
            const raw = await connectRaw(path);
            raw.socket.write(concat([peer.hello, peer.noise]));
            return { raw, leave: peer.leave };
          }),
        );
        expect(await client.request(pattern(50))).toEqual(pattern(50));
        for (const { raw, leave } of peers) {
          if (leave === 'end') raw.socket.end();
          else raw.socket.destroy();
        }
        while (server.stats.clients > 1) expect(await client.request(pattern(5))).toEqual(pattern(5));
        expect(server.stats.openRequests).toBe(0);
      }),
      { numRuns: 100 },
    );
  });
});

describe('a client that greets', () => {
  test('gives up on a server that says nothing, with ERR_IPC_TIMEOUT and the way to the plain framing', async () => {
    const path = makePath();
    let heard = (): void => {};
    const greeted = new Promise<void>((resolve) => (heard = resolve));
    await rawServer(path, (socket) => void socket.once('data', () => heard()));
    // Its time begins when it connects, and ends when it has greeted, not before.
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    onTestFinished(() => void vi.useRealTimers());
    const client = createSocketClient(path, { handshakeTimeoutMs: 40 });
    const failure = client.connect();
    await greeted;
    vi.advanceTimersByTime(39);
    await new Promise((resolve) => setImmediate(resolve));
    expect(await firstValueFrom(client.state$)).toBe('connecting');
    vi.advanceTimersByTime(1);
    await expect(failure).rejects.toMatchObject({ code: 'ERR_IPC_TIMEOUT', timeoutMs: 40 });
    await expect(failure).rejects.toThrow('framing: "plain"');
  });

  test.each([
    ['ERR_IPC_PEER_GONE', 'closes instead', (socket: Socket) => void socket.once('data', () => socket.end())],
    [
      'ERR_IPC_PEER_GONE',
      'breaks the connection',
      (socket: Socket) => void socket.once('data', () => socket.destroy()),
    ],
    ['ERR_IPC_PROTOCOL', 'talks HTTP', (socket: Socket) => void socket.end('HTTP/1.1 400 Bad Request\r\n\r\n')],
    [
      'ERR_IPC_PROTOCOL',
      'offers no window',
      (socket: Socket) => void socket.end(encodeHello({ ...HELLO, windowBytes: 0 })),
    ],
    [
      'ERR_IPC_UNAUTHORIZED',
      'refuses with that code',
      (socket: Socket) =>
        void socket.end(encodeHello({ ...HELLO, refusal: { code: 'ERR_IPC_UNAUTHORIZED', message: 'not you' } })),
    ],
    [
      'ERR_IPC_VERSION',
      'speaks another version',
      (socket: Socket) => void socket.end(withU16(encodeHello(HELLO), 8, 7)),
    ],
  ])('rejects with %s when the server %s', async (code, _what, answer) => {
    const path = makePath();
    await rawServer(path, answer);
    const client = createSocketClient(path);
    const failure = client.connect();
    await expect(failure).rejects.toMatchObject({ code });
    await expect(failure).rejects.toBeInstanceOf(IpcError);
  });

  test('understands a hello and frames that come one byte at a time', async () => {
    const path = makePath();
    await rawServer(path, (socket) => {
      socket.once('data', () => {
        void (async () => {
          const push = encodeFrame({ kind: 3, id: 0, flags: 0, payload: pattern(6) });
          for (const chunk of cut(concat([encodeHello(HELLO), push]), [1])) {
            await new Promise((resolve) => socket.write(chunk, resolve));
          }
        })();
      });
    });
    const client = createSocketClient(path);
    onTestFinished(() => client.close());
    await client.connect();
    expect(await client.receive()).toEqual(pattern(6));
  });

  test('is told ERR_IPC_PEER_GONE when nobody listens', async () => {
    const client = createSocketClient(makePath());
    await expect(client.connect()).rejects.toMatchObject({ code: 'ERR_IPC_PEER_GONE' });
    const remote = createSocketServer('tcp:0');
    await remote.listen();
    const { address } = remote;
    await remote.close();
    await expect(createSocketClient(address).connect()).rejects.toMatchObject({ code: 'ERR_IPC_PEER_GONE' });
  });

  test('stops connecting when it is closed', async () => {
    const path = makePath();
    let open = 0;
    await rawServer(path, (socket) => {
      open++;
      socket.on('close', () => open--);
      socket.on('data', () => void client.close());
    });
    const client = createSocketClient(path);
    await expect(client.connect()).rejects.toMatchObject({ code: 'ERR_IPC_CLOSED' });
  });
});

describe('over TCP', () => {
  test('a server on port 0 tells its port, listens on the loopback only, and serves both framings', async () => {
    const server = createSocketServer('tcp:0');
    onTestFinished(() => server.close());
    server.respond((_clientId, request) => request);
    await server.listen();
    const port = Number(/^tcp:127\.0\.0\.1:(\d+)$/.exec(server.address)?.[1]);
    expect(port).toBeGreaterThan(0);
    for (const framing of ['spanwire', 'plain'] as const) {
      const client = createSocketClient(server.address, { framing });
      await client.connect();
      expect(await client.request(pattern(100_000))).toEqual(pattern(100_000));
      await client.close();
    }
    const second = createSocketServer(server.address);
    await expect(second.listen()).rejects.toMatchObject({ code: 'ERR_IPC_ADDRESS_IN_USE' });
  });
});

describe('the end of a connection', () => {
  async function reasonOf(path: string, server: IpcServer, run: (peer: RawPeer) => void): Promise<ClientEvent> {
    const gone = firstValueFrom(server.clients$.pipe(filter((event) => event.type === 'disconnected')));
    const peer = await connectRaw(path);
    run(peer);
    return gone;
  }
  const goaway = encodeFrame({ kind: 9, id: 0, flags: 0, payload: pattern(0) });
  const request = encodeFrame({ kind: 0, id: 0, flags: 0, payload: pattern(1) });

  test.each([
    ['closed', 'a goaway and the end of the stream', concat([encodeHello(HELLO), request, goaway])],
    ['gone', 'the end of the stream without a goaway', concat([encodeHello(HELLO), request])],
    ['gone', 'the end of the stream inside a frame', concat([encodeHello(HELLO), goaway, request.slice(0, 5)])],
    ['closed', 'the end of a plain stream between messages', concat([encodePlain(pattern(3))])],
    [
      'gone',
      'the end of a plain stream inside a message',
      concat([encodePlain(pattern(3)), Uint8Array.of(9, 0, 0, 0, 1)]),
    ],
  ])('is "%s" after %s', async (reason, _what, bytes) => {
    const path = makePath();
    const server = await echoServer(path);
    expect(await reasonOf(path, server, (peer) => peer.socket.end(bytes))).toMatchObject({ reason });
  });

  test.each([
    ['a reserved kind', encodeFrame({ kind: 11, id: 0, flags: 0, payload: pattern(0) })],
    ['more credit than was spent', encodeFrame({ kind: 10, id: 0, flags: 0, payload: Uint8Array.of(1, 0, 0, 0) })],
    [
      'data beyond the window',
      concat(Array.from({ length: 9 }, (_, id) => encodeFrame({ kind: 0, id, flags: 0, payload: pattern(1000) }))),
    ],
  ])('is "protocol" after %s, and that client alone is dropped', async (_what, bytes) => {
    const path = makePath();
    // Nobody reads requests here, so what is sent stays unreleased.
    const server = createSocketServer(path, { windowBytes: 8 * 1024 });
    onTestFinished(() => server.close());
    await server.listen();
    const other = await connectRaw(path);
    other.socket.write(encodeHello(HELLO));
    await other.readHello();
    const event = await reasonOf(path, server, (peer) => peer.socket.write(concat([encodeHello(HELLO), bytes])));
    expect(event).toMatchObject({ reason: 'protocol', error: { code: 'ERR_IPC_PROTOCOL' } });
    expect(server.stats.clients).toBe(1);
  });

  test('leaves what was answered before it for the peer to read', async () => {
    const path = makePath();
    const server = await echoServer(path);
    const peer = await connectRaw(path);
    const size = 60_000;
    peer.socket.end(concat([encodePlain(pattern(size)), encodePlain(pattern(size, 1))]));
    expect(await peer.readPlain()).toEqual(pattern(size));
    expect(await peer.readPlain()).toEqual(pattern(size, 1));
    expect(await peer.readToEnd()).toEqual(new Uint8Array(0));
    expect(server.stats.clients).toBe(0);
  });

  test('a peer that does not read its answers cannot hang close', async () => {
    const path = makePath();
    const server = createSocketServer(path, { graceMs: 50, responseWindowBytes: 8 * 1024 * 1024 });
    server.respond(() => new Uint8Array(4 * 1024 * 1024));
    await server.listen();
    const peer = await connectRaw(path);
    peer.socket.pause();
    const connected = firstValueFrom(server.clients$);
    peer.socket.write(encodePlain(pattern(1)));
    await connected;
    await server.close();
  });
});

function withU32(bytes: Uint8Array<ArrayBuffer>, at: number, value: number): Uint8Array<ArrayBuffer> {
  const changed = bytes.slice();
  new DataView(changed.buffer).setUint32(at, value, true);
  return changed;
}

function withU16(bytes: Uint8Array<ArrayBuffer>, at: number, value: number): Uint8Array<ArrayBuffer> {
  const changed = bytes.slice();
  new DataView(changed.buffer).setUint16(at, value, true);
  return changed;
}
