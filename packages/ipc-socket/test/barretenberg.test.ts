import { randomBytes, randomInt } from 'node:crypto';
import { readdirSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { Barretenberg as PublishedClient, BackendType } from '@aztec/bb.js';
import { IpcError, type IpcClient } from '@spanwire/ipc-core';
import { unpack, pack } from 'msgpackr';
import { filter, firstValueFrom, lastValueFrom, of } from 'rxjs';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { createSocketClient, type SocketClientOptions } from '../src/index.ts';
import {
  blake2s,
  hashOf,
  hashRequest,
  ourServer,
  startBarretenberg,
  unavailable,
  type Barretenberg,
} from './support/barretenberg.ts';
import { LONG } from './support/long.ts';
import { makeDirectory, makePath } from './support/place.ts';

interface Connected {
  readonly client: IpcClient;
  readonly server: Barretenberg;
}

async function connect(options: SocketClientOptions = {}): Promise<Connected> {
  const path = makePath();
  const server = await startBarretenberg(path);
  const client = createSocketClient(path, { framing: 'plain', ...options });
  onTestFinished(() => client.close());
  await client.connect();
  return { client, server };
}

const codeOf = (error: unknown): string => (error instanceof IpcError ? error.code : String(error));

/** "answered", or the code of the error. */
const outcome = (call: Promise<unknown>): Promise<string> => call.then(() => 'answered', codeOf);

/** Asks for the hashes of 20,000 messages of random sizes, 256 at a time; how many were right. */
async function rightHashes(hash: (data: Uint8Array) => Promise<string>): Promise<number> {
  const noise = randomBytes(1024 * 1024);
  let left = 20_000;
  let right = 0;
  const workers = Array.from({ length: 256 }, async () => {
    while (left > 0) {
      left--;
      // Sizes spread evenly over the orders of magnitude, up to 64 KiB; every hundredth up to a megabyte.
      const magnitude = randomInt(0, left % 100 === 0 ? 20_000 : 16_000) / 1000;
      const size = Math.floor(2 ** magnitude) - 1;
      const start = randomInt(0, noise.length - size + 1);
      const data = noise.subarray(start, start + size);
      const got = await hash(data);
      if (got !== blake2s(data)) throw new Error(`Expected the hash of ${size} bytes to be right, got ${got}`);
      right++;
    }
  });
  await Promise.all(workers);
  return right;
}

if (unavailable !== undefined) process.stderr.write(`skipped: ${unavailable}\n`);

describe.skipIf(unavailable !== undefined)('a plain client of the published server', () => {
  test('gets 20,000 right hashes of random sizes, pipelined 256 deep', LONG, async () => {
    const { client } = await connect();
    expect(await rightHashes(async (data) => hashOf(await client.request(hashRequest(data))))).toBe(20_000);
  });

  test('takes the answer to a command that does not exist as an answer', async () => {
    const { client } = await connect();
    const answer: unknown = unpack(await client.request(pack([['NoSuchCommand', {}]])));
    expect(answer).toEqual(['ErrorResponse', { message: expect.stringContaining('NoSuchCommand') as unknown }]);
    const data = randomBytes(100);
    expect(hashOf(await client.request(hashRequest(data)))).toBe(blake2s(data));
  });

  test('refuses at once what the wire cannot say, and stays usable', async () => {
    const { client } = await connect();
    const data = randomBytes(100);
    await expect(client.send(data)).rejects.toMatchObject({ code: 'ERR_IPC_UNSUPPORTED' });
    await expect(lastValueFrom(client.request$(data))).rejects.toMatchObject({ code: 'ERR_IPC_UNSUPPORTED' });
    await expect(lastValueFrom(client.duplex$(data, of(data)))).rejects.toMatchObject({ code: 'ERR_IPC_UNSUPPORTED' });
    const metadata = new Map([['trace', '1']]);
    await expect(client.request(data, { metadata })).rejects.toMatchObject({ code: 'ERR_IPC_UNSUPPORTED' });
    expect(hashOf(await client.request(hashRequest(data)))).toBe(blake2s(data));
  });

  test('rejects a message over the limit, and that one alone', async () => {
    const { client } = await connect({ maxMessageBytes: 1000 });
    const data = randomBytes(500);
    const [large, small] = await Promise.allSettled([
      client.request(hashRequest(randomBytes(1000))),
      client.request(hashRequest(data)),
    ]);
    expect(large.status === 'rejected' && codeOf(large.reason)).toBe('ERR_IPC_MESSAGE_TOO_LARGE');
    expect(small.status === 'fulfilled' && hashOf(small.value)).toBe(blake2s(data));
  });

  test('gives the answer of an aborted call to nobody', async () => {
    const { client } = await connect();
    const abort = new AbortController();
    const first = client.request(hashRequest(randomBytes(200_000)), { signal: abort.signal });
    const data = randomBytes(10);
    const second = client.request(hashRequest(data));
    abort.abort();
    await expect(first).rejects.toBe(abort.signal.reason);
    expect(hashOf(await second)).toBe(blake2s(data));
  });

  test('fails every open call with ERR_IPC_PEER_GONE when the server is killed', async () => {
    const { client, server } = await connect();
    const data = randomBytes(100_000);
    const call = (): Promise<string> => outcome(client.request(hashRequest(data)));
    const early = Array.from({ length: 128 }, call);
    await early[0];
    await server.stop();
    // It answers none of these.
    const late = Array.from({ length: 128 }, call);
    server.kill('SIGKILL');
    const codes = await Promise.all([...early, ...late]);
    const answered = codes.indexOf('ERR_IPC_PEER_GONE');
    expect(new Set(codes.slice(0, answered))).toEqual(new Set(['answered']));
    expect(answered).toBeLessThanOrEqual(early.length);
    expect(new Set(codes.slice(answered))).toEqual(new Set(['ERR_IPC_PEER_GONE']));
    await expect(server.exited).resolves.toEqual({ code: null, signal: 'SIGKILL' });
  });

  test('answers or fails every open call when the server is asked to end', async () => {
    const { client, server } = await connect();
    const data = randomBytes(100_000);
    const calls = Array.from({ length: 256 }, () => outcome(client.request(hashRequest(data))));
    await calls[0];
    server.kill('SIGTERM');
    await expect(server.exited).resolves.toEqual({ code: 0, signal: null });
    const others = (await Promise.all(calls)).filter((code) => code !== 'answered' && code !== 'ERR_IPC_PEER_GONE');
    expect(others).toEqual([]);
    await firstValueFrom(client.state$.pipe(filter((state) => state === 'closed')));
    await expect(client.request(hashRequest(data))).rejects.toMatchObject({ code: 'ERR_IPC_PEER_GONE' });
  });
});

describe.skipIf(process.platform === 'win32')('the published client of sockets, with a server of ours,', () => {
  test('gets 20,000 right hashes of random sizes, pipelined 256 deep, and ends it without a trace', LONG, async () => {
    const bbPath = ourServer();
    // There it wants the socket of the server that it starts.
    const directory = makeDirectory();
    vi.stubEnv('TMPDIR', directory);
    onTestFinished(() => void vi.unstubAllEnvs());
    // It gives a server five seconds to start. They pass when ours is there: a busy machine may take longer.
    vi.useFakeTimers({ toFake: ['Date', 'setTimeout', 'clearTimeout'] });
    onTestFinished(() => void vi.useRealTimers());
    let end: (said: string) => void;
    const ended = new Promise<string>((resolve) => (end = resolve));
    const client = await PublishedClient.new({
      backend: BackendType.NativeUnixSocket,
      bbPath,
      threads: 1,
      logger: (said) => {
        if (said.startsWith('{')) end(said);
      },
    });
    onTestFinished(() => client.destroy());
    const hash = async (data: Uint8Array): Promise<string> =>
      Buffer.from((await client.blake2s({ data })).hash).toString('hex');
    const first = hash(randomBytes(100));
    while (!readdirSync(directory).some((name) => name.endsWith('.sock'))) await delay(10);
    vi.advanceTimersByTime(50); // how often it looks
    await first;
    vi.useRealTimers();
    expect(await rightHashes(hash)).toBe(20_000);
    await client.destroy();
    expect(JSON.parse(await ended)).toMatchObject({ requests: 20_001, responses: 20_001, droppedAnswers: 0 });
    expect(readdirSync(directory)).toEqual([]);
  });
});
