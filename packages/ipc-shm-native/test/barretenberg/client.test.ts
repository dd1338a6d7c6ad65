import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { IpcError, MessageTooLargeError, TimeoutError, type IpcClient } from '@spanwire/ipc-core';
import { pack, unpack } from 'msgpackr';
import { filter, firstValueFrom, lastValueFrom, of } from 'rxjs';
import { describe, expect, onTestFinished, test } from 'vitest';
import { createShmClient, type BarretenbergClientOptions } from '../../src/index.ts';
import {
  blake2s,
  bytesOfAnswers,
  dataBytesIn,
  hashOf,
  hashRequest,
  hasReadAll,
  largeAnswerRequest,
  largestIn,
  randomData,
  startBarretenberg,
  unavailable,
  type Barretenberg,
  HASHES,
  LONG,
} from './support/barretenberg.ts';
import { expectNoNamesInTheEnd, freeName } from './support/names.ts';
import { eventually } from '../support/eventually.ts';
import { untilStopped } from '../support/process.ts';
import { start } from './support/children.ts';
import { hashMany } from './support/pipeline.ts';

type Options = Omit<BarretenbergClientOptions, 'layout'>;

function clientOf(name: string, options: Options = {}): IpcClient {
  const client = createShmClient(name, { ...options, layout: 'barretenberg' });
  onTestFinished(() => client.close());
  return client;
}

expectNoNamesInTheEnd();

interface Connected {
  readonly name: string;
  readonly client: IpcClient;
  readonly server: Barretenberg;
}

async function connect(
  ringBytes = 64 * 1024,
  options: Options = {},
  responseRingBytes: number = ringBytes,
): Promise<Connected> {
  const name = freeName();
  const server = await startBarretenberg(name, ringBytes, responseRingBytes);
  const client = clientOf(name, options);
  await client.connect();
  return { name, client, server };
}

async function expectRightHash(client: IpcClient): Promise<void> {
  const data = randomBytes(100);
  expect(hashOf(await client.request(hashRequest(data)))).toBe(blake2s(data));
}

const codeOf = (error: unknown): string => (error instanceof IpcError ? error.code : String(error));

/** "answered", or the code of the error. */
const outcome = (call: Promise<unknown>): Promise<string> => call.then(() => 'answered', codeOf);

describe.skipIf(unavailable !== undefined)('a client of the published server', () => {
  const rings = [4 * 1024, 64 * 1024, 1024 * 1024];

  test.for(rings)(
    'gets thousands of right hashes of random sizes 256 deep, through rings of %i bytes',
    LONG,
    async (ringBytes) => {
      const { client } = await connect(ringBytes);
      const largest = largestIn(ringBytes);
      expect(await hashMany(client, HASHES, 256, () => randomData(largest))).toBe(HASHES);
    },
  );

  test('waits where the ring is full, with far more requests than it holds', LONG, async () => {
    const { client } = await connect(4 * 1024, { maxPending: 10_000 });
    const data = randomBytes(1000);
    const answers = Array.from({ length: 10_000 }, () => client.request(hashRequest(data)));
    for (const answer of await Promise.all(answers)) expect(hashOf(answer)).toBe(blake2s(data));
  });

  describe('whose process did not run for far longer than the server waits for room', () => {
    async function stopAfter(request: Uint8Array, times: number): Promise<unknown> {
      const name = freeName();
      const server = await startBarretenberg(name, 64 * 1024, 4 * 1024);
      const small = Buffer.from(hashRequest(new Uint8Array(1))).toString('base64');
      const options = { name, small, request: Buffer.from(request).toString('base64'), times };
      const child = start('stopped-client.mjs', options);
      expect(await child.next()).toBe('ready');
      // No answer comes before it is stopped.
      await server.stop();
      child.send({});
      await untilStopped(child.process.pid ?? 0);
      server.kill('SIGCONT');
      await delay(200); // for so long at least does it not run
      await eventually(() => hasReadAll(name), true);
      child.process.kill('SIGCONT');
      return child.next();
    }

    test('gets all answers, since no more are under way than fit the ring', async () => {
      const data = randomBytes(8);
      const outcomes = (await stopAfter(hashRequest(data), 256)) as string[];
      expect(outcomes).toHaveLength(256);
      for (const outcome of outcomes) expect(hashOf(Buffer.from(outcome, 'base64'))).toBe(blake2s(data));
    });

    test('fails with ERR_IPC_PROTOCOL if answers were given up, and takes none for another', async () => {
      const outcomes = (await stopAfter(largeAnswerRequest(1200), 12)) as string[];
      expect(outcomes).toEqual(Array.from({ length: 12 }, () => 'ERR_IPC_PROTOCOL'));
    });
  });

  test('rejects a message over half of the ring at once, and that one alone', async () => {
    const { client } = await connect(4 * 1024);
    const limit = largestIn(4 * 1024);
    const [tooLarge, largest] = await Promise.allSettled([
      client.request(new Uint8Array(limit + 1)),
      client.request(hashRequest(new Uint8Array(dataBytesIn(limit)))),
    ]);
    expect(tooLarge).toMatchObject({ status: 'rejected', reason: expect.any(MessageTooLargeError) as unknown });
    expect(tooLarge).toMatchObject({ reason: { messageBytes: limit + 1, maxMessageBytes: limit } });
    expect(largest.status).toBe('fulfilled');
    await expectRightHash(client);
  });

  test('takes the answer to a command that does not exist as an answer', async () => {
    const { client } = await connect();
    const answer: unknown = unpack(await client.request(pack([['NoSuchCommand', {}]])));
    expect(answer).toEqual(['ErrorResponse', { message: expect.stringContaining('NoSuchCommand') as unknown }]);
    await expectRightHash(client);
  });

  test('refuses at once what the wire cannot say, and stays usable', async () => {
    const { client } = await connect();
    const data = randomBytes(100);
    await expect(client.send(data)).rejects.toMatchObject({ code: 'ERR_IPC_UNSUPPORTED' });
    await expect(lastValueFrom(client.request$(data))).rejects.toMatchObject({ code: 'ERR_IPC_UNSUPPORTED' });
    await expect(lastValueFrom(client.duplex$(data, of(data)))).rejects.toMatchObject({ code: 'ERR_IPC_UNSUPPORTED' });
    const metadata = new Map([['trace', '1']]);
    await expect(client.request(data, { metadata })).rejects.toMatchObject({ code: 'ERR_IPC_UNSUPPORTED' });
    await expectRightHash(client);
  });

  test('gives the answers of calls that were given up to nobody', async () => {
    const { client, server } = await connect();
    const abort = new AbortController();
    await server.stop();
    const aborted = client.request(hashRequest(randomBytes(100)), { signal: abort.signal });
    const late = client.request(hashRequest(randomBytes(100)), { timeoutMs: 1 });
    const data = randomBytes(10);
    const third = client.request(hashRequest(data));
    abort.abort();
    await Promise.all([
      expect(aborted).rejects.toBe(abort.signal.reason),
      expect(late).rejects.toBeInstanceOf(TimeoutError),
    ]);
    server.kill('SIGCONT');
    expect(hashOf(await third)).toBe(blake2s(data));
  });

  test('fails every open call with ERR_IPC_PEER_GONE when the server is killed, and so does who connects later', async () => {
    const { name, client, server } = await connect(1024 * 1024);
    const data = randomBytes(100_000);
    const call = (): Promise<string> => outcome(client.request(hashRequest(data)));
    const early = Array.from({ length: 128 }, call);
    await early[0];
    await server.stop();
    // It answers none of these.
    const late = Array.from({ length: 128 }, call);
    const killedMs = performance.now();
    server.kill('SIGKILL');
    const codes = await Promise.all([...early, ...late]);
    process.stderr.write(
      `a killed server: its calls had failed after ${(performance.now() - killedMs).toFixed(1)} ms\n`,
    );
    const answered = codes.indexOf('ERR_IPC_PEER_GONE');
    expect(new Set(codes.slice(0, answered))).toEqual(new Set(['answered']));
    expect(answered).toBeLessThanOrEqual(early.length);
    expect(new Set(codes.slice(answered))).toEqual(new Set(['ERR_IPC_PEER_GONE']));
    await expect(client.request(hashRequest(data))).rejects.toMatchObject({ code: 'ERR_IPC_PEER_GONE' });
    await server.exited;
    // The names are still there.
    expect(existsSync(`/dev/shm/${name}_request`)).toBe(true);
    await expect(clientOf(name).connect()).rejects.toMatchObject({ code: 'ERR_IPC_PEER_GONE' });
    // The next server takes them, and removes them when this test ends.
    await startBarretenberg(name, 4096);
  });

  test('fails its calls with ERR_IPC_PEER_GONE when the server was asked to end', async () => {
    const { name, client, server } = await connect();
    await expectRightHash(client);
    server.kill('SIGTERM');
    await expect(server.exited).resolves.toEqual({ code: 0, signal: null });
    await firstValueFrom(client.state$.pipe(filter((state) => state === 'closed')));
    await expect(client.request(new Uint8Array(1))).rejects.toMatchObject({ code: 'ERR_IPC_PEER_GONE' });
    expect(existsSync(`/dev/shm/${name}_request`)).toBe(false);
    await expect(clientOf(name).connect()).rejects.toMatchObject({ code: 'ERR_IPC_PEER_GONE' });
  });

  test('goes on with the next server of that name, if it was told to reconnect', async () => {
    const { name, client, server } = await connect(4096, { reconnect: { delaysMs: [1] } });
    await expectRightHash(client);
    server.kill('SIGKILL');
    await firstValueFrom(client.state$.pipe(filter((state) => state === 'reconnecting')));
    await startBarretenberg(name, 8192);
    await expectRightHash(client);
  });

  test('takes the connection that another client left, and none of its answers', async () => {
    const { name, client } = await connect(1024 * 1024);
    // Closed in the middle, here and in a process that is killed.
    const data = randomBytes(100_000);
    const given = Array.from({ length: 5 }, () => outcome(client.request(hashRequest(data))));
    await client.close();
    expect(new Set(await Promise.all(given))).toEqual(new Set(['ERR_IPC_CLOSED']));
    const child = start('our-client.mjs', { name, ending: 'die' });
    await child.exited;
    const second = clientOf(name);
    await second.connect();
    expect(await hashMany(second, 100, 10, () => randomData(1000))).toBe(100);
  });

  test('is refused with ERR_IPC_OVERLOADED while another client has the server', async () => {
    const { name, client, server } = await connect();
    await expect(clientOf(name).connect()).rejects.toMatchObject({ code: 'ERR_IPC_OVERLOADED' });
    await client.close();
    const next = clientOf(name, { peerPid: server.pid });
    await next.connect();
    await expectRightHash(next);
  });

  test('knows the process of its server, which must be there', async () => {
    const { name, client } = await connect();
    await client.close();
    const gone = start('our-client.mjs', { name, ending: 'let' });
    await gone.exited;
    const wrong = clientOf(name, { peerPid: gone.process.pid });
    await expect(wrong.connect()).rejects.toMatchObject({ code: 'ERR_IPC_PEER_GONE' });
    for (const peerPid of [0, -1, 1.5, Number.NaN]) {
      expect(() => createShmClient(name, { layout: 'barretenberg', peerPid })).toThrow(RangeError);
    }
  });

  test.for(['exit', 'terminate', 'let', 'close'])('lets its process end: %s', LONG, async (ending) => {
    const name = freeName();
    await startBarretenberg(name, 64 * 1024);
    for (let i = 0; i < 3; i++) {
      const child = start('our-client.mjs', { name, ending });
      expect(await child.exited).toEqual({ code: 0, signal: null });
    }
    const client = clientOf(name);
    await client.connect();
    await expectRightHash(client);
  });

  test('says what a name may be', () => {
    for (const name of ['', 'a/b', 'a b', '.hidden', 'shm:', 'x'.repeat(250)]) {
      expect(() => createShmClient(name, { layout: 'barretenberg' })).toThrow(TypeError);
    }
  });
});

test.skipIf(process.platform !== 'linux')(
  'a client empties its ring while its event loop is busy, before the published server would give up an answer',
  LONG,
  async () => {
    const name = freeName();
    // One of ours, which waits as long as it takes: the published one counts the time, too, for which this process gets no turn at all.
    const server = start('our-server.mjs', { name, ending: 'close', rings: { responseRingBytes: 4 * 1024 } });
    expect(await server.next()).toBe('listening');
    const client = clientOf(name);
    await client.connect();
    const data = randomBytes(1200);
    const answers = Array.from({ length: 32 }, () => client.request(data));
    // Busy until ten times as much came as the ring holds, with a watchdog.
    for (const end = performance.now() + 300_000; bytesOfAnswers(name) < 32 * 1200 && performance.now() < end;);
    expect(bytesOfAnswers(name)).toBeGreaterThan(32 * 1200);
    for (const answer of await Promise.all(answers)) expect(Buffer.compare(answer, data)).toBe(0);
    // It removes its names.
    server.send({});
    await server.exited;
  },
);
