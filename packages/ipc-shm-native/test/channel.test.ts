import { helloOfClient, KIND_ONE_WAY, resolveClientOptions } from '@spanwire/ipc-core';
import { expect, test } from 'vitest';
import { createShmServer, shmConnect } from '../src/index.ts';
import { start } from './support/children.ts';
import { makeDirectory } from './support/place.ts';

test('callbacks of a channel that throw are uncaught exceptions, and cost no other channel anything', async () => {
  const child = start('throwing.mjs', { directory: makeDirectory() });
  expect(await child.next()).toEqual({ kinds: ['frames', 'closed'], echoes: 100, others: true });
});

test('the largest ring takes a record as large as it is, and nothing more until that is read', async () => {
  const directory = makeDirectory();
  const server = createShmServer('shm:largest', {
    directory,
    requestRingBytes: 2 ** 30,
    responseRingBytes: 8192,
    maxMemoryBytes: 2 ** 31,
  });
  await server.listen();
  const settings = resolveClientOptions(undefined);
  const connect = shmConnect('shm:largest', { directory })({ settings, hello: helloOfClient(settings) });
  const channel = await connect(new AbortController().signal);
  try {
    const payload = new Uint8Array(channel.capacityBytes);
    // In one turn: the server, which shares this thread, reads nothing meanwhile.
    expect(channel.trySend('data', KIND_ONE_WAY, 0, 0, payload)).toBe(true);
    expect(channel.trySend('data', KIND_ONE_WAY, 0, 0, payload)).toBe(false);
    expect(channel.trySend('data', KIND_ONE_WAY, 0, 0, new Uint8Array(0))).toBe(false);
  } finally {
    await channel.close();
    await server.close();
  }
});
