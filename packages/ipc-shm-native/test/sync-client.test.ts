import { describe, expect, test } from 'vitest';
import { createShmSyncClient } from '../src/index.ts';
import { blockingClient, codeOf, pattern, ring, serving, stopped } from './support/blocking.ts';
import { eventually } from './support/eventually.ts';
import { makeDirectory } from './support/place.ts';
import { holdingsOf } from './support/process.ts';

describe('a blocking client', () => {
  test('throws ERR_IPC_CLOSED after close(), which may be called again', async () => {
    const { address } = await serving();
    const client = blockingClient(address);
    client.call(pattern(1));
    client.close();
    client.close();
    expect(codeOf(() => client.call(pattern(1)))).toBe('ERR_IPC_CLOSED');
  });

  test('says what it expects of its arguments', async () => {
    const { address } = await serving();
    const client = blockingClient(address);
    // @ts-expect-error -- a mistake of the caller
    expect(() => client.call('text')).toThrow(TypeError);
    // @ts-expect-error -- a mistake of the caller
    expect(() => client.call(pattern(1), { timeoutMs: '1' })).toThrow(TypeError);
    for (const timeoutMs of [-1, Number.NaN, 2 ** 31]) {
      expect(() => client.call(pattern(1), { timeoutMs })).toThrow(RangeError);
    }
    expect(client.call(pattern(1))).toEqual(pattern(1));
    expect(() => createShmSyncClient('tcp:host:1')).toThrow(TypeError);
    expect(() => createShmSyncClient(address, { spinMicros: -1 })).toThrow(RangeError);
    expect(() => createShmSyncClient(address, { handshakeTimeoutMs: 0 })).toThrow(RangeError);
    expect(() => createShmSyncClient(address, { maxMessageBytes: 2 ** 30 })).toThrow(RangeError);
  });

  test('throws ERR_IPC_PEER_GONE for a name without a server, and ERR_IPC_TIMEOUT when one says nothing', async () => {
    expect(codeOf(() => createShmSyncClient(`shm:${makeDirectory()}/none`))).toBe('ERR_IPC_PEER_GONE');
    const { server, address } = await serving();
    await stopped(server);
    const before = performance.now();
    expect(codeOf(() => createShmSyncClient(address, { handshakeTimeoutMs: 150 }))).toBe('ERR_IPC_TIMEOUT');
    expect(performance.now() - before).toBeGreaterThanOrEqual(150);
    process.kill(server.pid, 'SIGCONT');
    expect(blockingClient(address).call(pattern(2))).toEqual(pattern(2));
  });

  test('waits for more than five seconds where it is told to, and works afterwards', async () => {
    const { server, address } = await serving();
    const client = blockingClient(address);
    client.call(pattern(1));
    await stopped(server);
    const before = performance.now();
    expect(codeOf(() => client.call(pattern(2), { timeoutMs: 5200 }))).toBe('ERR_IPC_TIMEOUT');
    // 5.2 s are more nanoseconds than 32 bits hold.
    expect(performance.now() - before).toBeGreaterThanOrEqual(5200);
    process.kill(server.pid, 'SIGCONT');
    expect(client.call(pattern(3))).toEqual(pattern(3));
  });

  test('leaves nothing behind, one after the other', async () => {
    const { address } = await serving({ requestRingBytes: ring, responseRingBytes: ring });
    const once = (): void => {
      using client = createShmSyncClient(address);
      client.call(pattern(100));
    };
    once();
    const before = holdingsOf(process.pid);
    for (let i = 0; i < 100; i++) once();
    await eventually(() => holdingsOf(process.pid), before);
  });
});
