import { chmodSync, chownSync, mkdirSync } from 'node:fs';
import type { ClientEvent, PeerInfo } from '@spanwire/ipc-core';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { createShmClient, createShmServer, type ShmServerOptions } from '../src/index.ts';
import { start, type Child } from './support/children.ts';
import { makeDirectory } from './support/place.ts';

const OTHER = 65_534;
const isRoot = process.getuid?.() === 0;
if (!isRoot) process.stderr.write('skipped: only root can act as a second user\n');

const stranger = (address: string): Child => start('client.mjs', { address, task: 'stay', uid: OTHER });

/** A server on a socket in a directory of that mode; the socket itself opened to everybody when `open`. */
async function serving(
  mode: number,
  open: boolean,
  options: ShmServerOptions = {},
): Promise<{ address: string; events: ClientEvent[] }> {
  const path = `${makeDirectory(mode)}/s`;
  const server = createShmServer(`shm:${path}`, options);
  onTestFinished(() => server.close());
  const events: ClientEvent[] = [];
  server.clients$.subscribe((event) => events.push(event));
  server.respond((_clientId, request) => request);
  await server.listen();
  if (open) chmodSync(path, 0o666);
  return { address: `shm:${path}`, events };
}

describe.skipIf(!isRoot)('a second user', () => {
  test('is kept out by the directory', async () => {
    const { address, events } = await serving(0o700, true);
    expect(await stranger(address).next()).toMatchObject({
      code: 'ERR_IPC_UNAUTHORIZED',
      message: expect.stringContaining(address),
    });
    expect(events).toEqual([]);
  });

  test('is kept out by the mode of the socket', async () => {
    const { address, events } = await serving(0o755, false);
    expect(await stranger(address).next()).toMatchObject({ code: 'ERR_IPC_UNAUTHORIZED' });
    expect(events).toEqual([]);
  });

  test('is refused by the server itself, where directory and socket are open to all', async () => {
    const { address, events } = await serving(0o755, true);
    expect(await stranger(address).next()).toMatchObject({
      code: 'ERR_IPC_UNAUTHORIZED',
      message: expect.stringContaining(`User ${OTHER}`),
    });
    expect(events).toEqual([]);
  });

  test('is let in by `authorize`, which sees who the kernel says it is', async () => {
    const asked: PeerInfo[] = [];
    const authorize = (peer: PeerInfo): boolean => asked.push(peer) > 0 && peer.uid === OTHER;
    const { address, events } = await serving(0o755, true, { authorize });
    const child = stranger(address);
    expect(await child.next()).toBe('connected');
    const peer = { uid: OTHER, pid: child.pid };
    expect(asked).toEqual([peer]);
    expect(events).toMatchObject([{ type: 'connected', peer }]);
    // Even this user, then, is not let in by default.
    await expect(createShmClient(address).connect()).rejects.toMatchObject({ code: 'ERR_IPC_UNAUTHORIZED' });
  });

  test('that is let in may not take the address over', async () => {
    const { address } = await serving(0o777, true, { authorize: () => true });
    const usurper = start('server.mjs', { address, listen: { takeover: true }, uid: OTHER });
    expect(await usurper.next()).toMatchObject({ refused: 'ERR_IPC_UNAUTHORIZED' });
    const client = createShmClient(address);
    onTestFinished(() => client.close());
    await client.connect();
    expect(await client.request(new Uint8Array(3))).toHaveLength(3);
  });

  test('cannot lure clients: a directory of somebody else in the place of the default one is refused', async () => {
    const runtime = makeDirectory(0o777);
    const directory = `${runtime}/spanwire`;
    mkdirSync(directory);
    chownSync(directory, OTHER, OTHER);
    const server = start('server.mjs', { address: `shm:${directory}/name.sock`, uid: OTHER });
    expect(await server.next()).toBe('listening');
    vi.stubEnv('XDG_RUNTIME_DIR', runtime);
    onTestFinished(() => void vi.unstubAllEnvs());
    const client = createShmClient('shm:name');
    await expect(client.connect()).rejects.toMatchObject({
      code: 'ERR_IPC_UNAUTHORIZED',
      message: expect.stringContaining(directory),
    });
    await expect(createShmServer('shm:name').listen()).rejects.toMatchObject({ code: 'ERR_IPC_UNAUTHORIZED' });
  });
});
