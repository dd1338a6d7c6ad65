import {
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { dirname, join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { lockDirectory } from '../src/directory-lock.ts';
import { createSocketClient, createSocketServer, type SocketServer } from '../src/index.ts';
import { start } from './support/children.ts';
import { LONG } from './support/long.ts';
import { makeDirectory, makePath } from './support/place.ts';

const text = new TextDecoder();
const ASK = new Uint8Array(1);

function makeServer(path: string, name = 'here'): SocketServer {
  const server = createSocketServer(path);
  onTestFinished(() => server.close());
  server.respond(() => new TextEncoder().encode(name));
  return server;
}

/** Who answers on `path`. */
async function whoAnswers(path: string): Promise<string> {
  const client = createSocketClient(path);
  await client.connect();
  try {
    return text.decode(await client.request(ASK));
  } finally {
    await client.close();
  }
}

describe('the file of a Unix socket', () => {
  test('is there while the server listens, with mode 0600, and nothing is left after close', async () => {
    const path = makePath();
    const server = makeServer(path);
    await server.listen();
    expect(lstatSync(path).isSocket()).toBe(true);
    expect(lstatSync(path).mode & 0o777).toBe(0o600);
    expect(readdirSync(dirname(path))).toEqual(['test.sock']);
    await server.close();
    expect(readdirSync(dirname(path))).toEqual([]);
  });

  test('never has a looser mode, not even with umask 0 and for a moment', LONG, async () => {
    const path = makePath();
    const directory = dirname(path);
    const watcher = start('watch-modes.mjs', { path, directory });
    await watcher.next();
    const before = process.umask(0);
    try {
      for (let i = 0; i < 60; i++) {
        const server = makeServer(path);
        await server.listen();
        await server.close();
      }
    } finally {
      process.umask(before);
    }
    // One more that certainly lasts until it is seen.
    const server = makeServer(path);
    await server.listen();
    watcher.send('done');
    const seen = (await watcher.next()) as string[];
    expect(seen).toContain('socket 600');
    expect(seen.filter((mode) => mode !== 'socket 600' && mode !== 'private 700')).toEqual([]);
  });

  test('of a live server is never taken from it', async () => {
    const path = makePath();
    const first = makeServer(path, 'first');
    await first.listen();
    const second = makeServer(path, 'second');
    await expect(second.listen()).rejects.toMatchObject({ code: 'ERR_IPC_ADDRESS_IN_USE' });
    await second.close();
    expect(await whoAnswers(path)).toBe('first');
    expect(readdirSync(dirname(path))).toEqual(['test.sock']);
  });

  test('of a server that was killed is replaced by the next', async () => {
    const path = makePath();
    const victim = start('serve.mjs', { address: path, handler: 'name', name: 'victim' });
    expect(await victim.next()).toEqual({ listening: `unix:${path}` });
    await victim.kill('SIGKILL');
    expect(lstatSync(path).isSocket()).toBe(true);
    const next = makeServer(path, 'next');
    await next.listen();
    expect(await whoAnswers(path)).toBe('next');
    await next.close();
    expect(readdirSync(dirname(path))).toEqual([]);
  });

  test('goes to exactly one of several servers that start at once, over a dead one', LONG, async () => {
    for (let round = 0; round < 4; round++) {
      const path = makePath();
      const victim = start('bind-and-wait.mjs', { path });
      await victim.next();
      await victim.kill();
      const racers = [0, 1, 2, 3, 4, 5].map((name) => start('race.mjs', { address: path, name }));
      for (const racer of racers) await racer.next();
      for (const racer of racers) racer.send('go');
      const results = (await Promise.all(racers.map((racer) => racer.next()))) as Array<{
        name: number;
        won: boolean;
        code?: string;
      }>;
      const winners = results.filter(({ won }) => won);
      expect(winners.length).toBe(1);
      for (const { won, code } of results) if (!won) expect(code).toBe('ERR_IPC_ADDRESS_IN_USE');
      expect(await whoAnswers(path)).toBe(String(winners[0]?.name));
      expect(readdirSync(dirname(path))).toEqual(['test.sock']);
      for (const racer of racers) await racer.kill();
    }
  });

  test('that a successor has put in place is not removed by close', async () => {
    const path = makePath();
    const first = makeServer(path);
    await first.listen();
    // What an administrator might do, or a server of another kind.
    renameSync(path, `${path}.old`);
    const stranger = createServer();
    onTestFinished(() => void stranger.close());
    stranger.listen(path);
    await once(stranger, 'listening');
    const { ino } = lstatSync(path);
    await first.close();
    expect(lstatSync(path).ino).toBe(ino);
  });

  test.each([
    ['a regular file', (path: string) => writeFileSync(path, 'precious')],
    ['a directory', (path: string) => mkdirSync(path)],
    ['a symbolic link', (path: string) => symlinkSync('/nowhere', path)],
  ])('is not made where %s is', async (what, make) => {
    const path = makePath();
    make(path);
    const server = makeServer(path);
    const failure = server.listen();
    await expect(failure).rejects.toMatchObject({ code: 'ERR_IPC_ADDRESS_IN_USE' });
    await expect(failure).rejects.toThrow(`got ${what}`);
    await server.close();
    expect(readdirSync(dirname(path))).toEqual(['test.sock']);
    if (what === 'a regular file') expect(readFileSync(path, 'utf8')).toBe('precious');
  });

  test('needs its directory: ERR_IPC_SYSTEM says which one is missing', async () => {
    const path = join(makeDirectory(), 'missing', 'x.sock');
    const server = makeServer(path);
    const failure = server.listen();
    await expect(failure).rejects.toMatchObject({ code: 'ERR_IPC_SYSTEM', errno: 'ENOENT' });
    await expect(failure).rejects.toThrow(path);
  });

  test('keeps other users out: ERR_IPC_UNAUTHORIZED', async (context) => {
    context.skip(process.getuid?.() !== 0, 'only root can become somebody else');
    const path = makePath();
    await makeServer(path).listen();
    const client = createSocketClient(path);
    process.seteuid?.(65_534);
    try {
      await expect(client.connect()).rejects.toMatchObject({ code: 'ERR_IPC_UNAUTHORIZED' });
    } finally {
      process.seteuid?.(0);
    }
  });

  test('leaves no private directory of servers that died while they started', async () => {
    const path = makePath();
    const directory = dirname(path);
    mkdirSync(join(directory, '.spw-dead01'));
    mkdirSync(join(directory, '.spw-dead02'));
    mkdirSync(join(directory, '.spw-alive1'));
    mkdirSync(join(directory, '.spw-files1'));
    mkdirSync(join(directory, '.spw-not-one'));
    writeFileSync(join(directory, '.spw-files1', 'data'), 'precious');
    const dead = start('bind-and-wait.mjs', { path: join(directory, '.spw-dead01', 's') });
    const alive = start('bind-and-wait.mjs', { path: join(directory, '.spw-alive1', 's') });
    await dead.next();
    await alive.next();
    await dead.kill();
    await makeServer(path).listen();
    expect(readdirSync(directory).sort()).toEqual(['.spw-alive1', '.spw-files1', '.spw-not-one', 'test.sock']);
  });

  test('is freed at once: the same address can be listened on again in the same process', async () => {
    const path = makePath();
    for (let i = 0; i < 3; i++) {
      const server = makeServer(path, String(i));
      await server.listen();
      expect(await whoAnswers(path)).toBe(String(i));
      await server.close();
      expect(existsSync(path)).toBe(false);
    }
  });
});

describe('the lock on a directory', () => {
  test('is one server after the other', async () => {
    const directory = makeDirectory();
    const order: number[] = [];
    const first = await lockDirectory(directory, 5_000);
    const others = [1, 2, 3].map(async (number) => {
      const lock = await lockDirectory(directory, 60_000);
      order.push(number);
      lock.release();
    });
    order.push(0);
    first.release();
    await Promise.all(others);
    expect(order[0]).toBe(0);
    expect(new Set(order)).toEqual(new Set([0, 1, 2, 3]));
  });

  test('is free again when its holder is killed', async () => {
    const path = makePath();
    const holder = start('hold-lock.mjs', { directory: dirname(path) });
    expect(await holder.next()).toBe('held');
    const server = makeServer(path);
    const listening = server.listen();
    await holder.kill();
    await listening;
    expect(await whoAnswers(path)).toBe('here');
  });

  test('is waited for no longer than asked: ERR_IPC_TIMEOUT', async () => {
    const directory = makeDirectory();
    const lock = await lockDirectory(directory, 5_000);
    await expect(lockDirectory(directory, 30)).rejects.toMatchObject({ code: 'ERR_IPC_TIMEOUT' });
    lock.release();
  });

  test('of two directories is two locks', async () => {
    const one = await lockDirectory(makeDirectory(), 5_000);
    const other = await lockDirectory(makeDirectory(), 5_000);
    one.release();
    other.release();
  });
});
