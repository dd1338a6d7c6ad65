import { existsSync, lstatSync, readdirSync, renameSync } from 'node:fs';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { dirname } from 'node:path';
import { decodeHello, encodeHello, type IpcServer } from '@spanwire/ipc-core';
import { describe, expect, onTestFinished, test } from 'vitest';
import { createSocketClient, createSocketServer } from '../src/index.ts';
import { nextThat, start } from './support/children.ts';
import { makePath } from './support/place.ts';
import { connectRaw, HELLO } from './support/raw.ts';
import { encodePlain, pattern } from './support/wire.ts';

const text = new TextDecoder();
const ASK = new Uint8Array(1);
const CONFIRMATION = Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 0x90);

function nameServer(path: string, name: string): IpcServer {
  // Who has begun to greet it is in no hurry.
  const server = createSocketServer(path, { handshakeTimeoutMs: 60_000 });
  onTestFinished(() => server.close());
  server.respond(() => new TextEncoder().encode(name));
  return server;
}

async function ask(path: string): Promise<string> {
  const client = createSocketClient(path);
  await client.connect();
  try {
    return text.decode(await client.request(ASK));
  } finally {
    await client.close();
  }
}

/**
 * Connecting never fails. A server that goes may refuse what it was asked meanwhile: that it never started, and who asks again finds the one
 * that came.
 */
async function askWhoeverIsThere(path: string): Promise<string> {
  const client = createSocketClient(path);
  await client.connect();
  const answer = await client.request(ASK).catch((error: unknown) => {
    expect(error).toMatchObject({ code: 'ERR_IPC_REFUSED' });
    return undefined;
  });
  await client.close();
  if (answer !== undefined) return text.decode(answer);
  expect(await ask(path)).toBe('new');
  return 'new';
}

describe('taking an address over', () => {
  test('moves it from one process to another, and all who connect meanwhile find one of the two', async () => {
    const path = makePath();
    const old = start('serve.mjs', { address: path, handler: 'name', name: 'old' });
    expect(await old.next()).toEqual({ listening: `unix:${path}` });
    const moved = new AbortController();
    const begun: Array<Promise<void>> = [];
    const clients = Array.from({ length: 4 }, async () => {
      const heard: string[] = [];
      const hear = async (): Promise<void> => void heard.push(await askWhoeverIsThere(path));
      begun.push(hear());
      await begun.at(-1);
      while (!moved.signal.aborted || heard.at(-1) !== 'new') await hear();
      return heard;
    });
    await Promise.all(begun);
    // In a process of its own, so that the clients have no pause while it binds.
    const newcomer = start('serve.mjs', { address: path, handler: 'name', name: 'new', takeover: true });
    await nextThat<object>(newcomer, (message) => 'listening' in message);
    // From here on, everybody gets the new one.
    expect(await ask(path)).toBe('new');
    moved.abort();
    for (const heard of await Promise.all(clients)) {
      const first = heard.indexOf('new');
      expect(first).toBeGreaterThan(0);
      expect(new Set(heard.slice(0, first))).toEqual(new Set(['old']));
      expect(new Set(heard.slice(first))).toEqual(new Set(['new']));
    }
    const end = await nextThat<object>(old, (message) => 'closed' in message);
    expect(end).toEqual({ closed: true });
    // The old server is gone, and has left the name alone.
    expect(await ask(path)).toBe('new');
    expect(readdirSync(dirname(path))).toEqual(['test.sock']);
    expect(lstatSync(path).mode & 0o777).toBe(0o600);
  });

  test('lets what runs on the old server finish there', async () => {
    const path = makePath();
    const old = createSocketServer(path);
    onTestFinished(() => old.close());
    let finish = (): void => {};
    const running = new Promise<void>((resolve) => {
      old.respond(async (_clientId, request) => {
        resolve();
        await new Promise<void>((done) => (finish = done));
        return request;
      });
    });
    await old.listen();
    const client = createSocketClient(path);
    onTestFinished(() => client.close());
    await client.connect();
    const answer = client.request(pattern(9));
    await running;
    const server = nameServer(path, 'new');
    await server.listen({ takeover: true });
    finish();
    expect(await answer).toEqual(pattern(9));
    await old.closed;
    expect(await ask(path)).toBe('new');
  });

  test('works over and over, and the last server removes the name', async () => {
    const path = makePath();
    let last = nameServer(path, '0');
    await last.listen({ takeover: true });
    for (let i = 1; i <= 5; i++) {
      const next = nameServer(path, String(i));
      await next.listen({ takeover: true });
      expect(await ask(path)).toBe(String(i));
      await last.closed;
      last = next;
    }
    await last.close();
    expect(existsSync(path)).toBe(false);
  });

  test('is plain listening where nobody listens, and where a server was killed', async () => {
    const path = makePath();
    const victim = start('bind-and-wait.mjs', { path });
    await victim.next();
    await victim.kill();
    const server = nameServer(path, 'new');
    await server.listen({ takeover: true });
    expect(await ask(path)).toBe('new');
  });

  test('of a TCP address is ERR_IPC_UNSUPPORTED', async () => {
    await expect(createSocketServer('tcp:0').listen({ takeover: true })).rejects.toMatchObject({
      code: 'ERR_IPC_UNSUPPORTED',
    });
  });

  test('leaves a server of another kind alone', async () => {
    const path = makePath();
    const stranger = createServer((socket) => socket.resume());
    onTestFinished(() => void stranger.close());
    stranger.listen(path);
    await once(stranger, 'listening');
    const { ino } = lstatSync(path);
    const server = createSocketServer(path, { handshakeTimeoutMs: 40 });
    await expect(server.listen({ takeover: true })).rejects.toMatchObject({ code: 'ERR_IPC_TIMEOUT' });
    expect(lstatSync(path).ino).toBe(ino);
    expect(readdirSync(dirname(path))).toEqual(['test.sock']);
  });

  test('is a hello, a hello back, and eight bytes', async () => {
    const path = makePath();
    const server = nameServer(path, 'old');
    await server.listen();
    const newcomer = await connectRaw(path);
    newcomer.socket.write(encodeHello({ ...HELLO, takeover: true }));
    expect(decodeHello(await newcomer.readHello()).refusal).toBeUndefined();
    // What a newcomer would rename over.
    renameSync(path, `${path}.moved`);
    newcomer.socket.write(CONFIRMATION);
    await newcomer.readToEnd();
    await server.closed;
    expect(existsSync(`${path}.moved`)).toBe(true);
  });

  test.each([
    ['dies before it confirms', new Uint8Array(0)],
    ['confirms with something else', pattern(8)],
  ])('changes nothing when the newcomer %s', async (_what, bytes) => {
    const path = makePath();
    const server = nameServer(path, 'old');
    await server.listen();
    const newcomer = await connectRaw(path);
    newcomer.socket.write(encodeHello({ ...HELLO, takeover: true }));
    await newcomer.readHello();
    newcomer.socket.end(bytes);
    await newcomer.readToEnd();
    expect(await ask(path)).toBe('old');
    await server.close();
    expect(existsSync(path)).toBe(false);
  });

  test('finds nobody turned away who had begun to greet the old server', async () => {
    const path = makePath();
    const old = nameServer(path, 'old');
    await old.listen();
    const slow = await connectRaw(path);
    const hello = encodeHello(HELLO);
    await new Promise((resolve) => slow.socket.write(hello.subarray(0, 10), resolve));
    const server = nameServer(path, 'new');
    await server.listen({ takeover: true });
    slow.socket.write(hello.subarray(10));
    expect(decodeHello(await slow.readHello()).refusal).toBeUndefined();
    // A goaway, so that it knows where it stands.
    expect((await slow.readFrame()).kind).toBe(9);
    slow.socket.end();
    await old.closed;
  });

  test('ends plain peers of the old server in order, with their answers', async () => {
    const path = makePath();
    const old = nameServer(path, 'old');
    await old.listen();
    const running = await connectRaw(path);
    running.socket.write(encodePlain(ASK));
    expect(text.decode(await running.readPlain())).toBe('old');
    const server = nameServer(path, 'new');
    await server.listen({ takeover: true });
    expect(await running.readToEnd()).toEqual(new Uint8Array(0));
    expect(await ask(path)).toBe('new');
  });
});
