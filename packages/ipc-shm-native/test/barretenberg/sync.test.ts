import { randomBytes } from 'node:crypto';
import { IpcError, MessageTooLargeError, TimeoutError } from '@spanwire/ipc-core';
import { pack, unpack } from 'msgpackr';
import { describe, expect, onTestFinished, test } from 'vitest';
import { createShmSyncClient, type BarretenbergSyncClientOptions, type ShmSyncClient } from '../../src/index.ts';
import {
  blake2s,
  dataBytesIn,
  hashOf,
  hashRequest,
  largestIn,
  randomData,
  startBarretenberg,
  unavailable,
  type Barretenberg,
  HASHES,
  LONG,
} from './support/barretenberg.ts';
import { expectNoNamesInTheEnd, freeName } from './support/names.ts';
import { start } from './support/children.ts';

function clientOf(name: string, options: Omit<BarretenbergSyncClientOptions, 'layout'> = {}): ShmSyncClient {
  const client = createShmSyncClient(name, { ...options, layout: 'barretenberg' });
  onTestFinished(() => client.close());
  return client;
}

expectNoNamesInTheEnd();

async function connect(ringBytes = 64 * 1024): Promise<{ name: string; client: ShmSyncClient; server: Barretenberg }> {
  const name = freeName();
  const server = await startBarretenberg(name, ringBytes);
  return { name, client: clientOf(name), server };
}

function expectRightHash(client: ShmSyncClient): void {
  const data = randomBytes(100);
  expect(hashOf(client.call(hashRequest(data)))).toBe(blake2s(data));
}

function codeOf(body: () => unknown): string {
  try {
    body();
    return 'no error';
  } catch (error) {
    return error instanceof IpcError ? error.code : String(error);
  }
}

describe.skipIf(unavailable !== undefined)('a blocking client of the published server', () => {
  const rings = [4 * 1024, 64 * 1024, 1024 * 1024];

  test.for(rings)(
    'gets thousands of right hashes of random sizes, through rings of %i bytes',
    LONG,
    async (ringBytes) => {
      const { client } = await connect(ringBytes);
      const largest = largestIn(ringBytes);
      for (let i = 0; i < HASHES; i++) {
        const data = randomData(largest);
        const hash = hashOf(client.call(hashRequest(data)));
        if (hash !== blake2s(data)) throw new Error(`Expected the hash of ${data.length} bytes, got ${hash}`);
      }
    },
  );

  test('returns bytes that are the caller’s own', async () => {
    const { client } = await connect();
    const first = client.call(hashRequest(new Uint8Array(1)));
    const copy = first.slice();
    client.call(hashRequest(new Uint8Array(2)));
    expect(first).toEqual(copy);
    expect(first.byteOffset).toBe(0);
    expect(first.buffer.byteLength).toBe(first.length);
    expect(Object.getPrototypeOf(first)).toBe(Uint8Array.prototype);
  });

  test('throws for a message over half of the ring, and stays usable', async () => {
    const { client } = await connect(4 * 1024);
    const limit = largestIn(4 * 1024);
    expect(() => client.call(new Uint8Array(limit + 1))).toThrow(MessageTooLargeError);
    const data = new Uint8Array(dataBytesIn(limit));
    expect(hashOf(client.call(hashRequest(data)))).toBe(blake2s(data));
  });

  test('takes the answer to a command that does not exist as an answer', async () => {
    const { client } = await connect();
    const answer: unknown = unpack(client.call(pack([['NoSuchCommand', {}]])));
    expect(answer).toEqual(['ErrorResponse', { message: expect.stringContaining('NoSuchCommand') as unknown }]);
    expectRightHash(client);
  });

  test('throws ERR_IPC_TIMEOUT after timeoutMs, and gives the late answer to nobody', async () => {
    const { client, server } = await connect();
    await server.stop();
    const before = performance.now();
    // The first one is under way; the second waits for its answer and is not even sent.
    expect(() => client.call(hashRequest(randomBytes(10)), { timeoutMs: 30 })).toThrow(TimeoutError);
    expect(() => client.call(hashRequest(randomBytes(20)), { timeoutMs: 30 })).toThrow(TimeoutError);
    expect(performance.now() - before).toBeGreaterThanOrEqual(60);
    server.kill('SIGCONT');
    for (let i = 0; i < 100; i++) expectRightHash(client);
  });

  test('waits for more than five seconds where it is told to, for its turn as for an answer', LONG, async () => {
    const { client, server } = await connect(4 * 1024);
    expectRightHash(client);
    await server.stop();
    const data = new Uint8Array(dataBytesIn(largestIn(4 * 1024)));
    for (let call = 0; call < 2; call++) {
      const before = performance.now();
      expect(() => client.call(hashRequest(data), { timeoutMs: 5200 })).toThrow(TimeoutError);
      // 5.2 s are more nanoseconds than 32 bits hold.
      expect(performance.now() - before).toBeGreaterThanOrEqual(5200);
    }
    server.kill('SIGCONT');
    expectRightHash(client);
  });

  test('says what it expects of its arguments', async () => {
    const { client } = await connect();
    // @ts-expect-error -- a mistake of the caller
    expect(() => client.call('text')).toThrow(TypeError);
    for (const timeoutMs of [-1, Number.NaN, 2 ** 31]) {
      expect(() => client.call(new Uint8Array(1), { timeoutMs })).toThrow(RangeError);
    }
    expectRightHash(client);
  });

  test('throws ERR_IPC_PEER_GONE out of a blocked call when the server is killed', async () => {
    const name = freeName();
    const server = await startBarretenberg(name, 64 * 1024);
    const caller = start('sync-caller.mjs', { name });
    expect(await caller.next()).toBe('calling');
    await server.stop();
    const killedMs = performance.now();
    server.kill('SIGKILL');
    expect(await caller.next()).toBe('ERR_IPC_PEER_GONE');
    process.stderr.write(
      `a killed server: its blocked call failed after ${(performance.now() - killedMs).toFixed(1)} ms\n`,
    );
  });

  test('throws ERR_IPC_PEER_GONE once the server has ended, and for a name without a server', async () => {
    const { name, client, server } = await connect();
    expectRightHash(client);
    server.kill('SIGTERM');
    await server.exited;
    expect(codeOf(() => client.call(new Uint8Array(1)))).toBe('ERR_IPC_PEER_GONE');
    expect(codeOf(() => client.call(new Uint8Array(1)))).toBe('ERR_IPC_PEER_GONE');
    expect(codeOf(() => clientOf(name))).toBe('ERR_IPC_PEER_GONE');
  });

  test('throws ERR_IPC_CLOSED after close(), and another one may connect', async () => {
    const { name, client } = await connect();
    expect(codeOf(() => clientOf(name))).toBe('ERR_IPC_OVERLOADED');
    client.close();
    client.close();
    expect(codeOf(() => client.call(new Uint8Array(1)))).toBe('ERR_IPC_CLOSED');
    expectRightHash(clientOf(name));
  });

  test('can be terminated with its worker while it is blocked', async () => {
    const name = freeName();
    const server = await startBarretenberg(name, 64 * 1024);
    const caller = start('sync-caller.mjs', { name, inWorker: true });
    expect(await caller.next()).toBe('calling');
    await server.stop();
    caller.send({});
    expect(await caller.next()).toBe('terminated');
    expect(await caller.exited).toEqual({ code: 0, signal: null });
  });

  test('waits for a server that is busy for an earlier client, up to handshakeTimeoutMs', async () => {
    const { name, client, server } = await connect();
    await server.stop();
    expect(() => client.call(hashRequest(randomBytes(10)), { timeoutMs: 10 })).toThrow(TimeoutError);
    client.close();
    expect(codeOf(() => clientOf(name, { handshakeTimeoutMs: 30 }))).toBe('ERR_IPC_TIMEOUT');
    server.kill('SIGCONT');
    expectRightHash(clientOf(name));
  });
});

test('a blocking client of our own server notices when that closes', async () => {
  const name = freeName();
  const server = start('our-server.mjs', { name, ending: 'close' });
  await server.next();
  const client = clientOf(name);
  for (const size of [0, 1, 1000, 100_000, 500_000]) {
    const data = randomBytes(size);
    expect(Buffer.compare(client.call(data), data)).toBe(0);
  }
  server.send({});
  await server.exited;
  expect(codeOf(() => client.call(new Uint8Array(1)))).toBe('ERR_IPC_PEER_GONE');
});
