/** The published Barretenberg server on shared memory, started for one test, and what it understands. */
import { spawn } from 'node:child_process';
import { createHash, randomBytes, randomInt } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync, rmSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { findBbBinary, findNapiBinary } from '@aztec/bb.js/platform';
import { pack, unpack } from 'msgpackr';
import { onTestFinished } from 'vitest';
import { untilStopped } from '../../support/process.ts';
import { scale } from '../../support/scale.ts';

const program: string | null = findBbBinary();
/** The published client, a native addon. */
export const publishedClient: string | null = findNapiBinary();

// They must be there on x64 Linux; elsewhere their absence skips tests.
if (process.platform === 'linux' && process.arch === 'x64' && (program === null || publishedClient === null)) {
  throw new Error('Expected @aztec/bb.js to ship its server and its client for linux x64');
}

/** Why these tests cannot run here, or undefined. */
export const unavailable: string | undefined =
  process.platform === 'linux' && program !== null && publishedClient !== null
    ? undefined
    : `@aztec/bb.js ships nothing for shared memory on ${process.platform} ${process.arch}`;
if (unavailable !== undefined) process.stderr.write(`skipped: ${unavailable}\n`);

export interface Barretenberg {
  readonly pid: number;
  /** Resolves with how it ended. */
  readonly exited: Promise<{ code: number | null; signal: NodeJS.Signals | null }>;
  kill(signal: NodeJS.Signals): void;
  /** Stops it until SIGCONT; resolves when none of its threads runs any more. */
  stop(): Promise<void>;
}

/** Starts the server under `name` and waits until it says that it is ready. It ends with the test. */
export async function startBarretenberg(
  name: string,
  ringBytes: number,
  responseRingBytes: number = ringBytes,
): Promise<Barretenberg> {
  const rings = ['--request-ring-size', `${ringBytes}`, '--response-ring-size', `${responseRingBytes}`];
  const child = spawn(program ?? '', ['msgpack', 'run', '--input', `${name}.shm`, ...rings], {
    env: { ...process.env, HARDWARE_CONCURRENCY: '1' },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  const exited = once(child, 'exit').then(([code, signal]) => ({
    code: code as number | null,
    signal: signal as NodeJS.Signals | null,
  }));
  onTestFinished(async () => {
    // It removes its names when it is asked to end, unless a test stopped it.
    child.kill('SIGTERM');
    child.kill('SIGCONT');
    await exited;
    // It was killed, maybe.
    for (const ring of ['request', 'response']) rmSync(`/dev/shm/${name}_${ring}`, { force: true });
  });
  const said: string[] = [];
  await new Promise<void>((resolve, reject) => {
    child.once('error', reject);
    createInterface({ input: child.stderr })
      .on('line', (line) => {
        said.push(line);
        if (line === 'IPC server ready') resolve();
      })
      .once('close', () => reject(new Error(`The server ended before it was ready. It said:\n${said.join('\n')}`)));
  });
  const pid = child.pid ?? 0;
  return {
    pid,
    exited,
    kill: (signal) => void child.kill(signal),
    stop() {
      child.kill('SIGSTOP');
      return untilStopped(pid);
    },
  };
}

/** For tests of many thousand messages: where each of them waits for its turn on a busy machine, that takes minutes. */
export const LONG = { timeout: 600_000 } as const;
/** How many hashes, or answers, there are in such a test. */
export const HASHES: number = scale('SPANWIRE_HASHES', 6000);

/** How many bytes the server has ever written for answers. */
export function bytesOfAnswers(name: string): number {
  return Number(readFileSync(`/dev/shm/${name}_response`).readBigUInt64LE(0));
}

/** Whether the server has read all requests, and so has answered them or given their answers up. */
export function hasReadAll(name: string): boolean {
  const ring = readFileSync(`/dev/shm/${name}_request`);
  return ring.readBigUInt64LE(64) === ring.readBigUInt64LE(0);
}

/** The largest message that passes a ring of that size. */
export function largestIn(ringBytes: number): number {
  return ringBytes / 2 - 4;
}

/** The request that hashes `data`. */
export function hashRequest(data: Uint8Array): Uint8Array {
  return pack([['Blake2s', { data }]]);
}

/** A request whose answer is a little larger than `bytes`: there is no such command, and the answer says its name. */
export function largeAnswerRequest(bytes: number): Uint8Array {
  return pack([['x'.repeat(bytes), {}]]);
}

/** The hash in an answer; throws when it is another answer. */
export function hashOf(answer: Uint8Array): string {
  const [name, fields] = unpack(answer) as [string, { hash: Uint8Array }];
  if (name !== 'Blake2sResponse') throw new Error(`Expected a Blake2sResponse, got ${name}`);
  return Buffer.from(fields.hash).toString('hex');
}

/** What the hash must be. */
export function blake2s(data: Uint8Array): string {
  return createHash('blake2s256').update(data).digest('hex');
}

const noise = randomBytes(2 ** 20);

/** How many bytes of data make a request of exactly `requestBytes`. */
export function dataBytesIn(requestBytes: number): number {
  return 2 * requestBytes - hashRequest(noise.subarray(0, requestBytes)).length;
}

/** Bytes to hash, such that the request has at most `largest` bytes: mostly small ones, now and then of the very limit. */
export function randomData(largest: number): Uint8Array {
  const most = dataBytesIn(largest);
  const dice = randomInt(0, 100);
  // Spread evenly over the orders of magnitude.
  const upTo = dice < 10 ? most : Math.min(most, 4096);
  const size = dice === 0 ? most : Math.floor((upTo + 1) ** (randomInt(0, 1000) / 1000)) - 1;
  const start = randomInt(0, noise.length - size + 1);
  return noise.subarray(start, start + size);
}
