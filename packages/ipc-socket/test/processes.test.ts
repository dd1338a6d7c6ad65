import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { type ClientEvent, type IpcServer } from '@spanwire/ipc-core';
import { filter, firstValueFrom, timer } from 'rxjs';
import { describe, expect, onTestFinished, test } from 'vitest';
import {
  createSocketClient,
  createSocketServer,
  type SocketClientOptions,
  type SocketServerOptions,
} from '../src/index.ts';
import { nextThat, start, type Child } from './support/children.ts';
import { LONG } from './support/long.ts';
import { makePath } from './support/place.ts';
import { connectRaw, greet } from './support/raw.ts';
import { concat, digest, encodeFrame, encodePlain, pattern } from './support/wire.ts';

const KiB = 1024;
const MiB = 1024 * KiB;
const text = new TextDecoder();
const bytes = (string: string): Uint8Array => new TextEncoder().encode(string);

async function echoServer(path: string, options: SocketServerOptions = {}): Promise<IpcServer> {
  const server = createSocketServer(path, options);
  onTestFinished(() => server.close());
  server.respond((_clientId, request) => request);
  await server.listen();
  return server;
}

async function connectedClient(path: string, options: SocketClientOptions = {}) {
  const client = createSocketClient(path, options);
  onTestFinished(() => client.close());
  await client.connect();
  return client;
}

function disconnected(server: IpcServer): Promise<ClientEvent> {
  return firstValueFrom(server.clients$.pipe(filter((event) => event.type === 'disconnected')));
}

/** Node for children who are asked for their {@link Memory}: what they could give up is no part of it, nor how far V8 lets garbage grow. */
const COLLECTING = { flags: ['--expose-gc', '--max-semi-space-size=1'] };

interface Memory {
  rss: number;
  arrayBuffers: number;
  /** Of a client: messages that were accepted, that wait for that, and right answers. */
  sent: number;
  waiting: number;
  right: number;
  /** Of a server, and of the messages without an answer that it has taken. */
  stats: { requests: number; messages: number };
  inOrder: number;
}

async function memoryOf(child: Child): Promise<Memory> {
  child.send('memory');
  return nextThat<Memory>(child, (message) => typeof message === 'object' && 'rss' in message);
}

/** What a client that sends messages as fast as it may tells once it has to wait. */
async function whenNoMoreIsSent(flooder: Child): Promise<Memory> {
  let last = await memoryOf(flooder);
  for (let same = 0; same < 5;) {
    const next = await memoryOf(flooder);
    same = next.sent === last.sent && next.sent > 0 ? same + 1 : 0;
    last = next;
  }
  return last;
}

describe('when a process dies', () => {
  test('a client that is killed in the middle of a large message costs nobody else anything', LONG, async () => {
    const path = makePath();
    // Memory for one large message: if the dead client kept it, the next one would wait for ever.
    const server = await echoServer(path, { maxReassemblyBytes: 64 * MiB });
    const other = await connectedClient(path);
    for (let i = 0; i < 3; i++) {
      const gone = disconnected(server);
      const victim = start('ask.mjs', { address: path, task: 'large', bytes: 60 * MiB });
      expect(await victim.next()).toBe('connected');
      const before = server.stats.bytesIn;
      while (server.stats.bytesIn < before + MiB) await other.request(bytes('beside'));
      await victim.kill('SIGKILL');
      expect(await gone).toMatchObject({ reason: 'gone', error: { code: 'ERR_IPC_PEER_GONE' } });
      expect((await other.request(pattern(60 * MiB))).length).toBe(60 * MiB);
    }
    expect(server.stats.clients).toBe(1);
  });

  test('a server that is killed fails at once what its clients wait for, and they find its successor', async () => {
    const path = makePath();
    const victim = start('serve.mjs', { address: path, handler: 'never' });
    expect(await victim.next()).toEqual({ listening: `unix:${path}` });
    const loyal = await connectedClient(path, { reconnect: { delaysMs: [5] } });
    const plainSpoken = await connectedClient(path);
    const calls = [...Array(10)].flatMap(() => [loyal.request(bytes('lost')), plainSpoken.request(bytes('lost'))]);
    const stream = firstValueFrom(loyal.request$(bytes('lost')));
    const outcomes = Promise.allSettled([...calls, stream]);
    // Both have come through: the clients are known.
    await nextThat<{ connected?: number }>(victim, (message) => message.connected === 2);
    await victim.kill('SIGKILL');
    for (const outcome of await outcomes) {
      expect(outcome).toMatchObject({ status: 'rejected', reason: { code: 'ERR_IPC_PEER_GONE' } });
    }
    await expect(plainSpoken.request(bytes('x'))).rejects.toMatchObject({
      code: expect.stringMatching(/PEER_GONE|CLOSED/),
    });
    // What was never sent waits for the next server.
    const waiting = loyal.request(bytes('found'));
    await echoServer(path);
    expect(text.decode(await waiting)).toBe('found');
  });
});

describe('a client that does not read', () => {
  test.each(['spanwire', 'plain'])(
    'and asks 65,536 times for 16 KiB costs the server less than 32 MiB (%s framing)',
    LONG,
    async (framing) => {
      const path = makePath();
      // A window for all of the requests: the worst that a client of our own protocol may do.
      const options = { address: path, handler: 'big', server: { windowBytes: 8 * MiB } };
      const server = start('serve.mjs', options, COLLECTING);
      await server.next();
      const other = await connectedClient(path);
      for (let i = 0; i < 2_000; i++) await other.request(bytes('warm'));
      const before = await memoryOf(server);
      const requests = Array.from({ length: 65_536 }, (_, id) =>
        framing === 'plain'
          ? encodePlain(pattern(1))
          : encodeFrame({ kind: 0, id: id + 1, flags: 0, payload: pattern(1) }),
      );
      const greedy = framing === 'plain' ? await connectRaw(path) : await greet(path);
      greedy.socket.pause();
      greedy.socket.write(concat(requests));
      let worst = 0;
      for (let i = 0; i < 20; i++) {
        for (let j = 0; j < 100; j++) expect((await other.request(bytes('beside'))).length).toBe(16 * 1024);
        worst = Math.max(worst, (await memoryOf(server)).rss);
      }
      expect(worst - before.rss).toBeLessThan(32 * MiB);
      // It was served until its answers filled what may wait for it, and no further.
      const { stats } = await memoryOf(server);
      const served = stats.requests - 2_000 - 2_000;
      expect(served).toBeGreaterThan(0);
      expect(served).toBeLessThan(1_024);
    },
  );
});

describe('a slow handler', () => {
  test('makes a flooding client wait: nothing is lost, and neither side holds more than its bounds', LONG, async () => {
    const path = makePath();
    const size = 32 * KiB;
    const workers = 512;
    const count = 2 * workers;
    // One request at a time, and a millisecond for each once it begins.
    const handler = { handler: 'slow', held: true, delayMs: 1, handle: { concurrency: 1 } };
    const slow = { address: path, ...handler, count: true };
    const server = start('serve.mjs', slow, COLLECTING);
    await server.next();
    const client = { maxPending: 2 * workers };
    const pressing = { address: path, task: 'pressing', bytes: size, workers, rounds: 2, client };
    const flooder = start('ask.mjs', pressing, COLLECTING);
    expect(await flooder.next()).toBe('connected');
    const before = { flooder: await memoryOf(flooder), server: await memoryOf(server) };
    flooder.send('go');
    // send() waits, and goes on waiting: while no request is answered, messages have no room for long.
    expect((await whenNoMoreIsSent(flooder)).waiting).toBeGreaterThan(workers / 2);
    const most = { ahead: 0, ofFlooder: 0, ofServer: 0 };
    server.send('go on');
    for (let last: Memory = before.flooder; last.right < count || last.sent < count;) {
      // In this order: whatever it has taken by then was accepted before.
      last = await memoryOf(flooder);
      const atServer = await memoryOf(server);
      most.ahead = Math.max(most.ahead, last.sent - atServer.inOrder);
      most.ofFlooder = Math.max(most.ofFlooder, last.arrayBuffers - before.flooder.arrayBuffers);
      most.ofServer = Math.max(most.ofServer, atServer.arrayBuffers - before.server.arrayBuffers);
      // Measuring is not all they have to do.
      await firstValueFrom(timer(20));
    }
    // The last messages may be on their way; each look is a turn of the server's loop.
    let end = await memoryOf(server);
    for (let looks = 0; looks < 1_000 && end.stats.messages < count; looks++) end = await memoryOf(server);
    expect(end).toMatchObject({ inOrder: count, stats: { requests: count, messages: count } });
    // It takes no message for accepted that has no room in the window.
    expect(most.ahead * size).toBeLessThanOrEqual(MiB);
    // 16 MiB of requests are under way, and a window of them is at the server; the client has what waits, once.
    expect(most.ofServer).toBeLessThan(4 * MiB);
    expect(most.ofFlooder).toBeLessThan(2 * workers * size + 4 * MiB);
  });

  test('holds back one-way messages while nobody takes them: send() waits', async () => {
    const path = makePath();
    const server = createSocketServer(path);
    onTestFinished(() => server.close());
    await server.listen();
    const flooder = start('ask.mjs', { address: path, task: 'flood', bytes: 16 * 1024 }, COLLECTING);
    expect(await flooder.next()).toBe('connected');
    // A window, and not one message more.
    const { sent } = await whenNoMoreIsSent(flooder);
    expect(sent * 16 * 1024).toBeLessThanOrEqual(MiB);
    const taken = new Promise<void>((resolve) => {
      let count = 0;
      server.messages$.subscribe(() => ++count === 1_000 && resolve());
    });
    await taken;
  });
});

describe('many clients', () => {
  /** All begin at once, and the last one waits for all the others. */
  const PATIENT = { handshakeTimeoutMs: 120_000 };

  test('500 connect at once, and each gets its own answers', async () => {
    const path = makePath();
    const server = await echoServer(path);
    const clients = Array.from({ length: 500 }, () => createSocketClient(path, PATIENT));
    onTestFinished(async () => void (await Promise.all(clients.map((client) => client.close()))));
    await Promise.all(clients.map((client) => client.connect()));
    expect(server.stats.clients).toBe(500);
    const answers = await Promise.all(
      clients.flatMap((client, i) => [0, 1, 2].map(async (j) => text.decode(await client.request(bytes(`${i}/${j}`))))),
    );
    expect(answers).toEqual(clients.flatMap((_, i) => [0, 1, 2].map((j) => `${i}/${j}`)));
  });

  test.each(['spanwire', 'plain'] as const)(
    'two large messages of each of 500 share the memory for messages that are put together (%s framing)',
    LONG,
    async (framing) => {
      const path = makePath();
      const large = 512 * 1024;
      const server = createSocketServer(path, { maxReassemblyBytes: 4 * MiB, maxMessageBytes: MiB });
      onTestFinished(() => server.close());
      let open = 0;
      let most = 0;
      server.respond(async (_clientId, request) => {
        most = Math.max(most, (open += request.length));
        const answer = request.slice(0, 8);
        // A turn of the loop, in which all that is allowed to has arrived.
        await new Promise((resolve) => setImmediate(resolve));
        open -= request.length;
        return answer;
      });
      await server.listen();
      const clients = Array.from({ length: 500 }, () => createSocketClient(path, { ...PATIENT, framing }));
      onTestFinished(async () => void (await Promise.all(clients.map((client) => client.close()))));
      await Promise.all(clients.map((client) => client.connect()));
      const answers = await Promise.all(
        clients.flatMap((client, i) =>
          [0, 1].map(async (j) => {
            const message = new Uint8Array(large);
            new DataView(message.buffer).setUint32(0, i * 2 + j);
            const answer = await client.request(message);
            return new DataView(answer.buffer, answer.byteOffset).getUint32(0);
          }),
        ),
      );
      expect(answers).toEqual(Array.from({ length: 1000 }, (_, i) => i));
      expect(most).toBeLessThanOrEqual(4 * MiB);
    },
  );
});

describe('the life of a process', () => {
  test('a client that is closed lets its process end by itself', async () => {
    const path = makePath();
    await echoServer(path);
    const child = start('ask.mjs', { address: path, task: 'once' });
    expect(await child.next()).toBe('ask');
    expect(await child.exited).toEqual({ code: 0, signal: null });
  });

  test('a server that is closed lets its process end by itself, also with clients that stay and peers that said nothing', async () => {
    const path = makePath();
    const child = start('serve.mjs', { address: path });
    await child.next();
    const client = await connectedClient(path);
    expect(text.decode(await client.request(bytes('hello')))).toBe('hello');
    const silent = await connectRaw(path);
    const plain = await connectRaw(path);
    plain.socket.write(encodePlain(pattern(1)));
    expect(await plain.readPlain()).toEqual(pattern(1));
    child.send('close');
    expect(await child.exited).toEqual({ code: 0, signal: null });
    await silent.readToEnd();
  });

  test('shutdown with 1,000 requests under way loses and hangs none', async () => {
    const path = makePath();
    const child = start('serve.mjs', { address: path, handler: 'slow' });
    await child.next();
    const clients = await Promise.all([...Array(4)].map(() => connectedClient(path)));
    const calls = clients.flatMap((client) => Array.from({ length: 250 }, () => client.request(bytes('x'))));
    const outcomes = Promise.allSettled(calls);
    await Promise.race(calls);
    child.send('shutdown');
    const counts = { fulfilled: 0, ERR_IPC_REFUSED: 0, ERR_IPC_PEER_GONE: 0, ERR_IPC_CLOSED: 0, other: 0 };
    for (const outcome of await outcomes) {
      if (outcome.status === 'fulfilled') counts.fulfilled++;
      else if (outcome.reason.code in counts) counts[outcome.reason.code as keyof typeof counts]++;
      else counts.other++;
    }
    expect(counts.other).toBe(0);
    expect(counts.fulfilled).toBeGreaterThan(0);
    // All of them had been sent: they are answered or refused, not lost with the connection.
    expect(counts.fulfilled + counts.ERR_IPC_REFUSED).toBe(1000);
    await nextThat<{ closed?: boolean }>(child, (message) => message.closed === true);
  });
});

describe('peers in another language', () => {
  const python = (name: string, ...args: string[]) => {
    const child = spawn('python3', [fileURLToPath(new URL(`fixtures/${name}`, import.meta.url)), ...args]);
    onTestFinished(() => void child.kill('SIGKILL'));
    let output = '';
    child.stdout.setEncoding('utf8').on('data', (said: string) => (output += said));
    child.stderr.setEncoding('utf8').on('data', (said: string) => (output += said));
    return { child, output: () => output };
  };

  test('a python3 process that knows only lengths and payloads gets its answers in order, beside clients of ours', async () => {
    const path = makePath();
    const server = createSocketServer(path);
    onTestFinished(() => server.close());
    // Answers finish in any order but that of the requests.
    server.respond(async (_clientId, request) => {
      const answer = request.slice();
      if (answer.length % 3 === 0) await firstValueFrom(timer(answer.length % 5));
      return answer;
    });
    await server.listen();
    const ours = await connectedClient(path);
    const { child, output } = python('plain_client.py', path, '2000');
    const ended = once(child, 'close');
    while (child.exitCode === null) expect(text.decode(await ours.request(bytes('beside')))).toBe('beside');
    // What it said may come after its end.
    expect((await ended)[0]).toBe(0);
    expect(output()).toBe('2000 answers in order\n');
  });

  test('a client with framing "plain" talks to a python3 server that knows only lengths and payloads', async () => {
    const path = makePath();
    const { child } = python('plain_server.py', path);
    await once(child.stdout, 'data');
    const client = await connectedClient(path, { framing: 'plain' });
    const answers = await Promise.all(Array.from({ length: 500 }, (_, i) => client.request(bytes(`message ${i}`))));
    expect(answers.map((answer) => text.decode(answer.toReversed()))).toEqual(answers.map((_, i) => `message ${i}`));
    expect((await client.request(new Uint8Array(0))).length).toBe(0);
    expect(digest(await client.request(pattern(3 * MiB)))).toBe(digest(pattern(3 * MiB).toReversed()));
    await expect(client.send(bytes('x'))).rejects.toMatchObject({ code: 'ERR_IPC_UNSUPPORTED' });
  });
});

describe('a server without descriptors', () => {
  test('survives EMFILE on accept, and serves again when there are some', async () => {
    const path = makePath();
    // Enough of them to load all modules at once, and few when it listens.
    const few = { wrapper: ['sh', '-c', 'ulimit -n 256; exec "$@"', 'sh'] };
    const server = start('serve.mjs', { address: path, descriptors: 20 }, few);
    expect(await server.next()).toEqual({ listening: `unix:${path}` });
    const first = await connectedClient(path);
    const crowd = await Promise.all(Array.from({ length: 100 }, () => connectRaw(path)));
    // Who is there stays, and whoever did not get in was not left hanging.
    expect(text.decode(await first.request(bytes('still')))).toBe('still');
    const fates = crowd.map(async (peer) => {
      peer.socket.write(encodePlain(bytes('crowd')));
      return peer.readPlain().then(
        () => 'served' as const,
        () => 'turned away' as const,
      );
    });
    const fate = await Promise.all(fates);
    expect(fate.filter((what) => what === 'served').length).toBeGreaterThan(0);
    expect(fate.filter((what) => what === 'turned away').length).toBeGreaterThan(0);
    for (const peer of crowd) peer.socket.destroy();
    // The server notices in its own time that they are gone.
    for (;;) {
      const client = createSocketClient(path);
      try {
        await client.connect();
        expect(text.decode(await client.request(bytes('again')))).toBe('again');
        break;
      } catch (error) {
        expect(error).toMatchObject({ code: 'ERR_IPC_PEER_GONE' });
      } finally {
        await client.close();
      }
    }
    expect(text.decode(await first.request(bytes('still')))).toBe('still');
  });
});
