import { existsSync } from 'node:fs';
import { MessageTooLargeError, RemoteError, TimeoutError } from '@spanwire/ipc-core';
import { describe, expect, onTestFinished, test } from 'vitest';
import { createShmServer, createShmSyncClient } from '../src/index.ts';
import { blockingClient, codeOf, pattern, ring, serving, sizes, stopped, wish } from './support/blocking.ts';
import { start } from './support/children.ts';
import { eventually } from './support/eventually.ts';
import { holdingsOf } from './support/process.ts';

describe.each([
  ['a blocking client', 'a server that blocks', false],
  ['a blocking client', 'a server on the event loop', true],
] as const)('%s and %s', (_client, _server, onLoop) => {
  test.each([true, false])('exchange messages of every size, with external buffers: %s', async (externalBuffers) => {
    const { address } = await serving({ onLoop, requestRingBytes: ring, responseRingBytes: ring, externalBuffers });
    const client = blockingClient(address, { externalBuffers });
    for (const size of sizes) {
      const data = pattern(size);
      expect(Buffer.compare(client.call(data), data), `${size} bytes`).toBe(0);
    }
  });

  test('exchange tens of thousands of messages of random sizes, from several processes at once', async () => {
    const { address } = await serving({ onLoop, requestRingBytes: ring, responseRingBytes: ring });
    const clients = Array.from({ length: 3 }, (_, seed) =>
      start('sync-client.mjs', { address, task: 'check', count: 5000, seed: seed + 1, inWorker: seed === 2 }),
    );
    for (const client of clients) expect(await client.next()).toBe('connected');
    for (const client of clients) expect(await client.next()).toBe('right');
  });

  test('exchange answers that are the caller’s own bytes', async () => {
    const { address } = await serving({ onLoop });
    const client = blockingClient(address);
    const first = client.call(pattern(100));
    client.call(new Uint8Array(100));
    expect(first).toEqual(pattern(100));
    expect(first.buffer.byteLength).toBe(100);
    expect(Object.getPrototypeOf(first)).toBe(Uint8Array.prototype);
  });

  test('a handler that throws answers that call with a RemoteError, and the next call works', async () => {
    const { address } = await serving({ onLoop });
    const client = blockingClient(address);
    const error = await Promise.resolve()
      .then(() => client.call(wish('F')))
      .catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(RemoteError);
    expect(error).toMatchObject({
      message: 'the handler failed',
      remote: { name: 'RangeError', code: 'ERR_OF_ITS_OWN' },
    });
    expect(client.call(pattern(10))).toEqual(pattern(10));
  });

  test('a handler that gives no answer fails that call with ERR_IPC_REMOTE', async () => {
    const { address } = await serving({ onLoop });
    const client = blockingClient(address);
    expect(codeOf(() => client.call(wish('N')))).toBe('ERR_IPC_REMOTE');
    expect(client.call(pattern(10))).toEqual(pattern(10));
  });

  test('a call that is not answered in time throws ERR_IPC_TIMEOUT, and its late answer goes to nobody', async () => {
    const { address, open } = await serving({ onLoop, requestRingBytes: ring, responseRingBytes: ring });
    const client = blockingClient(address);
    client.call(pattern(1));
    // Late by an event: what comes while this thread does not run counts, however long that takes.
    for (const [number, bytes] of [
      [1, 8],
      [2, 100_000],
    ] as const) {
      const before = performance.now();
      expect(() => client.call(wish('W', number, bytes), { timeoutMs: 100 })).toThrow(TimeoutError);
      expect(performance.now() - before).toBeGreaterThanOrEqual(100);
      open(number);
      for (const size of sizes) expect(Buffer.compare(client.call(pattern(size)), pattern(size))).toBe(0);
    }
    expect(() => client.call(wish('W', 3), { timeoutMs: 0 })).toThrow(TimeoutError);
    open(3);
    for (let i = 0; i < 100; i++) expect(client.call(pattern(i))).toEqual(pattern(i));
  });

  test('calls that time out one after the other while the server is stopped leave a client that works', async () => {
    const { server, address } = await serving({ onLoop, requestRingBytes: ring, responseRingBytes: ring });
    const client = blockingClient(address);
    client.call(pattern(1));
    await stopped(server);
    // The ring is full after some; a fragmented one is cut off in the middle.
    for (let i = 0; i < 12; i++) {
      expect(() => client.call(pattern(i % 3 === 2 ? 50_000 : 1000), { timeoutMs: 3 })).toThrow(TimeoutError);
    }
    process.kill(server.pid, 'SIGCONT');
    for (const size of sizes) expect(Buffer.compare(client.call(pattern(size)), pattern(size))).toBe(0);
  });

  test('a message over the limit of either side throws ERR_IPC_MESSAGE_TOO_LARGE, and the next one passes', async () => {
    const { address } = await serving({ onLoop, maxMessageBytes: 100_000 });
    const [own, servers] = [blockingClient(address, { maxMessageBytes: 1000 }), blockingClient(address)];
    expect(() => own.call(new Uint8Array(1001))).toThrow(MessageTooLargeError);
    expect(() => servers.call(new Uint8Array(100_001))).toThrow(MessageTooLargeError);
    expect(codeOf(() => own.call(wish('L', 1001)))).toBe('ERR_IPC_MESSAGE_TOO_LARGE');
    expect(codeOf(() => servers.call(wish('L', 100_001)))).toBe('ERR_IPC_MESSAGE_TOO_LARGE');
    expect(own.call(new Uint8Array(1000))).toHaveLength(1000);
    expect(servers.call(new Uint8Array(100_000))).toHaveLength(100_000);
  });

  test('a call that is blocked when the server is killed throws ERR_IPC_PEER_GONE, and so do all later ones', async () => {
    const { server, address, path } = await serving({ onLoop });
    const client = blockingClient(address);
    client.call(pattern(1));
    const caller = start('sync-client.mjs', { address, task: 'wait' });
    expect(await caller.next()).toBe('connected');
    await server.kill();
    expect(await caller.next()).toEqual({ threw: 'ERR_IPC_PEER_GONE' });
    expect(codeOf(() => client.call(pattern(1)))).toBe('ERR_IPC_PEER_GONE');
    expect(codeOf(() => client.call(pattern(1)))).toBe('ERR_IPC_PEER_GONE');
    expect(codeOf(() => blockingClient(address))).toBe('ERR_IPC_PEER_GONE');
    // The name that it left is taken over.
    const next = createShmServer(`shm:${path}`);
    onTestFinished(() => next.close());
    await next.listen();
  });

  test('a client that is killed or closes is missed at once, and leaves nothing', async () => {
    const { server, address, next } = await serving({ onLoop });
    const steady = blockingClient(address);
    steady.call(pattern(1));
    await next('came');
    const before = holdingsOf(server.pid);
    for (let i = 0; i < 3; i++) {
      const victim = start('sync-client.mjs', { address, task: 'stay' });
      expect(await victim.next()).toBe('connected');
      const { came } = await next('came');
      await victim.kill();
      expect(await next('left')).toMatchObject({ left: came, reason: 'gone' });
    }
    const { came } = await (async () => {
      using client = createShmSyncClient(address);
      client.call(pattern(9));
      return await next('came');
    })();
    expect(await next('left')).toMatchObject({ left: came, reason: 'closed' });
    expect(steady.call(pattern(5))).toEqual(pattern(5));
    await eventually(() => holdingsOf(server.pid), before);
  });

  test('a shutdown that the handler asks for answers first, and ends the client with ERR_IPC_REFUSED or ERR_IPC_PEER_GONE', async () => {
    for (const [ending, answer] of [
      ['S', wish('S')],
      ['Q', Uint8Array.of(1, 2, 3)],
      ['C', undefined],
    ] as const) {
      const { address, path, over } = await serving({ onLoop });
      const client = blockingClient(address);
      const bystander = blockingClient(address);
      bystander.call(pattern(1));
      // close() leaves nothing to finish.
      if (answer === undefined) expect(codeOf(() => client.call(wish(ending)))).toBe('ERR_IPC_CLOSED');
      else expect(client.call(wish(ending))).toEqual(answer);
      await over();
      expect(existsSync(path)).toBe(false);
      for (const each of [client, bystander]) {
        expect(['ERR_IPC_REFUSED', 'ERR_IPC_PEER_GONE']).toContain(codeOf(() => each.call(pattern(1))));
      }
    }
  });

  test('pushes do not reach blocking clients, and are not counted as sent', async () => {
    const { address } = await serving({ onLoop });
    expect(blockingClient(address).call(wish('M'))).toEqual(Uint8Array.of(0, 0));
  });

  test('a worker that is blocked in a call can be terminated', async () => {
    const { address } = await serving({ onLoop });
    const caller = start('sync-client.mjs', { address, task: 'wait', inWorker: true });
    expect(await caller.next()).toBe('connected');
    caller.send('terminate');
    expect(await caller.next()).toBe('terminated');
  });
});
