/** Real processes for tests. Each is killed when its test ends, and ends by itself when the test process does not live to see that. */
import { fork, spawn, type ChildProcess, type StdioOptions } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, onTestFinished } from 'vitest';

export interface Exit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

export interface Child {
  readonly pid: number;
  /** The next message of the child; rejects with what it wrote when it ends first. */
  next<T>(): Promise<T>;
  send(message: unknown): void;
  /** Resolves once it is gone. */
  kill(signal?: NodeJS.Signals): Promise<Exit>;
  readonly exited: Promise<Exit>;
  /** What it wrote to its standard error so far. */
  readonly errors: string;
}

export interface ChildOptions {
  /** What starts node, such as `prlimit` with its arguments. */
  readonly wrapper?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
}

const fixture = (name: string): string => fileURLToPath(new URL(`../fixtures/${name}`, import.meta.url));

/** What makes child processes use the addon that test-native/asan.mjs built. */
const sanitized = underSanitizer(process.env['SPANWIRE_ASAN']);

function underSanitizer(build: string | undefined): Record<string, string> {
  if (build === undefined) return {};
  const { folder, runtime } = JSON.parse(build) as { folder: string; runtime: string };
  return {
    // Where node-gyp-build looks instead of the package.
    '@SPANWIRE/IPC_SHM_NATIVE_PREBUILD': folder,
    LD_PRELOAD: runtime,
    // Node ends without giving everything back.
    ASAN_OPTIONS: 'detect_leaks=0',
    UBSAN_OPTIONS: 'print_stacktrace=1',
  };
}

/** Whether a process uses the addon that it should. */
export function expectSanitized(child: Child): void {
  const folder = sanitized['@SPANWIRE/IPC_SHM_NATIVE_PREBUILD'];
  if (folder === undefined) return;
  expect(readFileSync(`/proc/${child.pid}/maps`, 'utf8')).toContain(`${folder}/build/Release`);
}

/** Starts `fixtures/<name>` with `argument` as JSON. */
export function start(name: string, argument: unknown = {}, options: ChildOptions = {}): Child {
  const stdio: StdioOptions = ['ignore', 'inherit', 'pipe', 'ipc'];
  const settings = { stdio, env: { ...process.env, ...sanitized, ...options.env } };
  const [program, ...wrapped] = options.wrapper ?? [];
  return watch(
    program === undefined
      ? fork(fixture(name), [JSON.stringify(argument)], { ...settings, execArgv: [] })
      : spawn(program, [...wrapped, process.execPath, fixture(name), JSON.stringify(argument)], settings),
  );
}

function watch(child: ChildProcess): Child {
  const queue: unknown[] = [];
  const waiting: Array<{ resolve: (message: unknown) => void; reject: (error: Error) => void }> = [];
  let errors = '';
  let ended: Error | undefined;
  child.stderr?.setEncoding('utf8').on('data', (text: string) => (errors += text));
  child.on('error', (error) => (errors += error.message));
  child.on('message', (message) => {
    const waiter = waiting.shift();
    if (waiter === undefined) queue.push(message);
    else waiter.resolve(message);
  });
  const exited = once(child, 'close').then(([code, signal]) => {
    ended = new Error(`The child ended with ${String(code ?? signal)}. It said: ${errors}`);
    for (const waiter of waiting) waiter.reject(ended);
    return { code: code as number | null, signal: signal as NodeJS.Signals | null };
  });
  const kill = async (signal: NodeJS.Signals = 'SIGKILL'): Promise<Exit> => {
    child.kill(signal);
    return exited;
  };
  onTestFinished(async () => void (await kill()));
  return {
    pid: child.pid ?? 0,
    exited,
    kill,
    get errors() {
      return errors;
    },
    // It may just have died.
    send: (message) => void child.send(message as object, () => undefined),
    next: <T>() =>
      new Promise<T>((resolve, reject) => {
        if (queue.length > 0) resolve(queue.shift() as T);
        else if (ended !== undefined) reject(ended);
        else waiting.push({ resolve: resolve as (message: unknown) => void, reject });
      }),
  };
}
