/** What several tests need. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { onTestFinished } from 'vitest';
import { createIpc, type Ipc, type IpcOptions } from '@spanwire/ipc-process';

export const onLinux: boolean = process.platform === 'linux';

export function fixture(name: string): URL {
  return new URL(`fixtures/${name}`, import.meta.url);
}

/** An Ipc that is disposed when the test ends. */
export function testIpc<Context = undefined>(options: IpcOptions<Context> = {}): Ipc<Context> {
  const ipc = createIpc(options);
  onTestFinished(() => ipc[Symbol.asyncDispose]());
  return ipc;
}

/** A folder that is removed when the test ends. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'spwp-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

export interface TestServer {
  /** As the server reports it. */
  readonly address: string;
  readonly pid: number;
  kill(signal: NodeJS.Signals): Promise<void>;
}

/** Starts `server.mjs` in a process of its own; resolves when it listens. */
export async function startServer(
  address: string,
  dataDir: string,
  maxConnections?: number,
  options: IpcOptions = {},
): Promise<TestServer> {
  const parameters = [fileURLToPath(fixture('server.mjs')), address, dataDir];
  if (maxConnections !== undefined) parameters.push(String(maxConnections));
  const child = spawn(process.execPath, parameters, {
    stdio: ['pipe', 'pipe', 'inherit'],
    env: { ...process.env, OPTIONS: JSON.stringify(options) },
  });
  const exited = once(child, 'exit');
  onTestFinished(async () => {
    child.stdin.end();
    await exited;
  });
  const lines = createInterface({ input: child.stdout });
  const [line] = (await Promise.race([once(lines, 'line'), once(lines, 'close')])) as [string | undefined];
  if (line === undefined) throw new Error('Expected the server to listen, got its end');
  return {
    address: line,
    pid: child.pid ?? 0,
    kill: async (signal) => {
      child.kill(signal);
      await exited;
    },
  };
}

/** How many descriptors this process has open. */
export function openDescriptors(): number {
  return readdirSync('/proc/self/fd').length;
}

/** A promise and what settles it. */
export function deferred<T = void>(): {
  promise: Promise<T>;
  resolve: (value: T) => void;
  reject: (error: unknown) => void;
} {
  let resolve!: (value: T) => void;
  let reject!: (error: unknown) => void;
  const promise = new Promise<T>((onResolved, onRejected) => {
    resolve = onResolved;
    reject = onRejected;
  });
  return { promise, resolve, reject };
}

/** What `promise` rejects with. */
export async function rejection(promise: PromiseLike<unknown>): Promise<unknown> {
  try {
    await promise;
  } catch (error) {
    return error;
  }
  throw new Error('Expected a rejection, got a result');
}

/** Numbers from 0 to 1 that depend on the seed alone. */
export function seededRandom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Runs `task` for 0 to `count` - 1, two at a time. */
export async function twoAtATime(count: number, task: (i: number) => Promise<void>): Promise<void> {
  let next = 0;
  const run = async (): Promise<void> => {
    while (next < count) await task(next++);
  };
  await Promise.all([run(), run()]);
}
