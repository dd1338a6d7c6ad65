/** The published Barretenberg server, started for one test, what it understands, and what its published client can start instead. */
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { findBbBinary } from '@aztec/bb.js/platform';
import { pack, unpack } from 'msgpackr';
import { onTestFinished } from 'vitest';
import { makeDirectory } from './place.ts';

/** The program of this platform. It must be there on x64 Linux; elsewhere its absence skips tests. */
const program: string | null = findBbBinary();
if (program === null && process.platform === 'linux' && process.arch === 'x64') {
  throw new Error('Expected @aztec/bb.js to ship its server for linux x64');
}

/** Why these tests cannot run here, or undefined. */
export const unavailable: string | undefined =
  program === null ? `@aztec/bb.js ships no server for ${process.platform} ${process.arch}` : undefined;

export interface Barretenberg {
  readonly pid: number;
  /** Resolves with how it ended. */
  readonly exited: Promise<{ code: number | null; signal: NodeJS.Signals | null }>;
  kill(signal: NodeJS.Signals): void;
  /** Stops it until SIGCONT; resolves when none of its threads runs any more. */
  stop(): Promise<void>;
}

/** Starts the server on the socket `path` and waits until it says that it is ready. It ends with the test. */
export async function startBarretenberg(path: string): Promise<Barretenberg> {
  const child = spawn(program ?? '', ['msgpack', 'run', '--input', path], {
    env: { ...process.env, HARDWARE_CONCURRENCY: '1' },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  const exited = once(child, 'exit').then(([code, signal]) => ({
    code: code as number | null,
    signal: signal as NodeJS.Signals | null,
  }));
  onTestFinished(async () => {
    child.kill('SIGKILL');
    await exited;
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
  const isStopped = (): boolean =>
    readdirSync(`/proc/${pid}/task`).every((task) =>
      readFileSync(`/proc/${pid}/task/${task}/stat`, 'latin1').includes(') T '),
    );
  return {
    pid,
    exited,
    kill: (signal) => void child.kill(signal),
    async stop() {
      child.kill('SIGSTOP');
      while (!isStopped()) await new Promise((resolve) => setImmediate(resolve));
    },
  };
}

/** A server of ours as a program that the published client can start, run by this very Node.js. */
export function ourServer(): string {
  const program = join(makeDirectory(), 'bb');
  const file = fileURLToPath(new URL('../fixtures/our-bb.mjs', import.meta.url));
  writeFileSync(program, `#!/bin/sh\nexec '${process.execPath}' '${file}' "$@"\n`, { mode: 0o755 });
  return program;
}

/** The request that hashes `data`. */
export function hashRequest(data: Uint8Array): Uint8Array {
  return pack([['Blake2s', { data }]]);
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
