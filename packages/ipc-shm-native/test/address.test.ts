import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { IpcError, type IpcServer } from '@spanwire/ipc-core';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { createShmClient, createShmServer, type ShmServerOptions } from '../src/index.ts';
import { start } from './support/children.ts';
import { makeDirectory } from './support/place.ts';

function serverAt(name: string, options: ShmServerOptions = {}): IpcServer {
  const server = createShmServer(name, options);
  onTestFinished(() => server.close());
  server.respond((_clientId, request) => request);
  return server;
}

async function answersAt(name: string, directory?: string): Promise<Uint8Array> {
  await using client = createShmClient(name, { directory });
  await client.connect();
  return await client.request(Uint8Array.of(42));
}

describe('names', () => {
  test.each([
    ['shm:'],
    [''],
    ['a/b'],
    ['../a'],
    ['.hidden'],
    ['-a'],
    ['a b'],
    ['ä'],
    ['unix:/a'],
    ['shm:shm:a'],
    ['a\0b'],
  ])('%j is no name', (name) => {
    expect(() => createShmServer(name)).toThrow(TypeError);
    expect(() => createShmClient(name)).toThrow(`got ${JSON.stringify(name)}`);
  });

  test.each([[7], [undefined], [null], [{}]])('%j is no name, although a program without types may say so', (name) => {
    expect(() => createShmServer(name as string)).toThrow(TypeError);
    expect(() => createShmClient(name as string)).toThrow(TypeError);
  });

  test('one is the same with and without its scheme, and as a path', async () => {
    const directory = makeDirectory();
    await serverAt('shm:a.b-c_1', { directory }).listen();
    expect(readdirSync(directory)).toEqual(['a.b-c_1.sock']);
    expect(await answersAt('a.b-c_1', directory)).toEqual(Uint8Array.of(42));
    expect(await answersAt(`shm:${directory}/a.b-c_1.sock`)).toEqual(Uint8Array.of(42));
    expect(await answersAt(`${directory}/a.b-c_1.sock`)).toEqual(Uint8Array.of(42));
  });

  test('a path that the kernel would cut is refused at once, and so is one whose private name would be cut', async () => {
    const path = `/${'x'.repeat(107)}`;
    for (const make of [createShmServer, createShmClient]) {
      expect(() => make(path)).toThrow(new RangeError(`Expected a socket path of at most 107 bytes, got 108: ${path}`));
      expect(() => make('é', { directory: '/tmp' })).toThrow(TypeError);
    }
    const directory = makeDirectory();
    const name = 'n'.repeat(107 - Buffer.byteLength(`${directory}/.sock`));
    await expect(serverAt(name, { directory }).listen()).rejects.toMatchObject({
      code: 'ERR_IPC_SYSTEM',
      message: expect.stringContaining('ENAMETOOLONG'),
    });
    expect(readdirSync(directory)).toEqual([]);
  });

  test.each([['relative'], [''], [7]])('%j is no directory', (directory) => {
    expect(() => createShmServer('a', { directory: directory as string })).toThrow(TypeError);
    expect(() => createShmClient('a', { directory: directory as string })).toThrow(TypeError);
  });
});

describe('the directory', () => {
  test('is made for this user alone, inside the runtime directory or else the temporary one', async () => {
    const [runtime, temporary] = [makeDirectory(), makeDirectory()];
    vi.stubEnv('XDG_RUNTIME_DIR', runtime);
    vi.stubEnv('TMPDIR', temporary);
    onTestFinished(() => void vi.unstubAllEnvs());
    await serverAt('shm:one').listen();
    expect(readdirSync(`${runtime}/spanwire`)).toEqual(['one.sock']);
    expect(await answersAt('one')).toEqual(Uint8Array.of(42));
    vi.stubEnv('XDG_RUNTIME_DIR', undefined);
    await serverAt('shm:two').listen();
    const directory = `${temporary}/spanwire-${process.getuid?.()}`;
    expect(readdirSync(directory)).toEqual(['two.sock']);
    expect(await answersAt('two')).toEqual(Uint8Array.of(42));
    for (const made of [`${runtime}/spanwire`, directory]) expect(statSync(made).mode & 0o777).toBe(0o700);
    expect(statSync(`${directory}/two.sock`).mode & 0o777).toBe(0o600);
  });

  test('that others may write to is refused, whoever made it', async () => {
    const directory = makeDirectory(0o770);
    const refused = {
      code: 'ERR_IPC_UNAUTHORIZED',
      message: expect.stringContaining(`${directory} to be writable by its user alone, got mode 770`),
    };
    await expect(serverAt('a', { directory }).listen()).rejects.toMatchObject(refused);
    expect(readdirSync(directory)).toEqual([]);
    chmodSync(directory, 0o755);
    await serverAt('a', { directory }).listen();
  });

  test('that is a file or a link is refused', async () => {
    const place = makeDirectory();
    writeFileSync(`${place}/file`, '');
    mkdirSync(`${place}/real`);
    symlinkSync(`${place}/real`, `${place}/link`);
    await expect(serverAt('a', { directory: `${place}/file` }).listen()).rejects.toMatchObject({
      code: 'ERR_IPC_SYSTEM',
    });
    await expect(serverAt('a', { directory: `${place}/link` }).listen()).rejects.toMatchObject({
      code: 'ERR_IPC_UNAUTHORIZED',
    });
  });

  test.skipIf(process.getuid?.() === 0)('that cannot be made is an error that says which', async () => {
    await expect(serverAt('a', { directory: '/proc/spanwire' }).listen()).rejects.toMatchObject({
      code: 'ERR_IPC_SYSTEM',
    });
  });
});

describe('an address', () => {
  test('that nobody listens on is a typed error for clients', async () => {
    const directory = makeDirectory();
    const client = createShmClient('nobody', { directory });
    await expect(client.connect()).rejects.toMatchObject({
      code: 'ERR_IPC_PEER_GONE',
      message: expect.stringContaining(`${directory}/nobody.sock`),
    });
  });

  test('in use is not stolen, and is free again as soon as its server closed', async () => {
    const address = `shm:${makeDirectory()}/s`;
    const first = serverAt(address);
    await first.listen();
    const second = serverAt(address);
    await expect(second.listen()).rejects.toMatchObject({ code: 'ERR_IPC_ADDRESS_IN_USE' });
    expect(await answersAt(address)).toEqual(Uint8Array.of(42));
    await first.close();
    await second.listen();
    expect(await answersAt(address)).toEqual(Uint8Array.of(42));
  });

  test('whose server was killed is taken over by the next one; a file that is no socket stays', async () => {
    const directory = makeDirectory();
    const victim = start('server.mjs', { address: `shm:${directory}/s` });
    expect(await victim.next()).toBe('listening');
    await victim.kill();
    expect(readdirSync(directory)).toEqual(['s']);
    await expect(answersAt(`${directory}/s`)).rejects.toMatchObject({ code: 'ERR_IPC_PEER_GONE' });
    await serverAt(`${directory}/s`).listen();
    expect(await answersAt(`${directory}/s`)).toEqual(Uint8Array.of(42));
    writeFileSync(`${directory}/file`, 'precious');
    await expect(serverAt(`${directory}/file`).listen()).rejects.toBeInstanceOf(IpcError);
    expect(readFileSync(`${directory}/file`, 'utf8')).toBe('precious');
    expect(readdirSync(directory).sort()).toEqual(['file', 's']);
  });

  test('that several processes want at the same moment goes to exactly one of them, stale or not', async () => {
    const directory = makeDirectory();
    const racers = Array.from({ length: 5 }, (_, number) => start('race.mjs', { number }));
    for (const racer of racers) expect(await racer.next()).toBe('ready');
    const stale = start('server.mjs', { address: `${directory}/s0` });
    expect(await stale.next()).toBe('listening');
    await stale.kill();
    for (let round = 0; round < 20; round++) {
      const address = `shm:${directory}/s${round}`;
      for (const racer of racers) racer.send(address);
      const results = await Promise.all(racers.map((racer) => racer.next()));
      expect(results.filter((result) => result === 'won')).toHaveLength(1);
      expect(results.filter((result) => result === 'ERR_IPC_ADDRESS_IN_USE')).toHaveLength(4);
      expect([...(await answersAt(address))]).toEqual([results.indexOf('won')]);
      // The last one's is gone, and no private name is left.
      expect(readdirSync(directory)).toEqual([`s${round}`]);
    }
  });

  test('is handed over to a newcomer without a moment in which nobody answers', async () => {
    const directory = makeDirectory();
    const address = `shm:${directory}/s`;
    const old = start('server.mjs', { address, answers: 'old' });
    expect(await old.next()).toBe('listening');
    const client = createShmClient(address, { reconnect: { delaysMs: [1] } });
    onTestFinished(() => client.close());
    await client.connect();
    const ask = async (): Promise<string> => new TextDecoder().decode(await client.request(new Uint8Array(4)));
    expect(await ask()).toBe('old');
    const newcomer = start('server.mjs', { address, answers: 'new', listen: { takeover: true } });
    const heard = new Set<string>();
    const failures: unknown[] = [];
    const listening = newcomer.next();
    while (!heard.has('new')) {
      try {
        heard.add(await ask());
        // A stranger that comes at any moment finds one of the two.
        expect(existsSync(`${directory}/s`)).toBe(true);
        await using stranger = createShmClient(address);
        await stranger.connect();
      } catch (error) {
        failures.push(error);
      }
    }
    expect(await listening).toBe('listening');
    expect(await old.next()).toBe('closed');
    expect(failures.map((error) => (error as IpcError).code)).toEqual(failures.map(() => 'ERR_IPC_REFUSED'));
    expect(readdirSync(directory)).toEqual(['s']);
    expect(await ask()).toBe('new');
    await expect(serverAt(address).listen()).rejects.toMatchObject({ code: 'ERR_IPC_ADDRESS_IN_USE' });
  });

  test('that nobody has may be taken over as well', async () => {
    const address = `shm:${makeDirectory()}/s`;
    await serverAt(address).listen({ takeover: true });
    expect(await answersAt(address)).toEqual(Uint8Array.of(42));
  });
});
