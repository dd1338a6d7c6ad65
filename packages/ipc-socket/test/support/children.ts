/** Real processes for tests. Each is killed when its test ends, and ends by itself when the test process does not live to see that. */
import { fork, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { onTestFinished } from 'vitest';

export interface Child {
  readonly process: ChildProcess;
  /** The next message of the child; rejects when it ends first. */
  next(): Promise<unknown>;
  send(message: unknown): void;
  kill(signal?: NodeJS.Signals): Promise<void>;
  readonly exited: Promise<{ code: number | null; signal: NodeJS.Signals | null }>;
}

export interface HowToStart {
  /** Of Node.js. */
  readonly flags?: readonly string[];
  /** A command that runs the command behind it. */
  readonly wrapper?: readonly string[];
}

/** Forks `fixtures/<name>` with `options` as its JSON argument. */
export function start(name: string, options: unknown = {}, { flags = [], wrapper }: HowToStart = {}): Child {
  const file = fileURLToPath(new URL(`../fixtures/${name}`, import.meta.url));
  const argument = JSON.stringify(options);
  const child =
    wrapper === undefined
      ? fork(file, [argument], {
          execArgv: [...process.execArgv, ...flags],
          stdio: ['ignore', 'inherit', 'pipe', 'ipc'],
        })
      : spawn(wrapper[0] ?? '', [...wrapper.slice(1), process.execPath, ...flags, file, argument], {
          stdio: ['ignore', 'inherit', 'pipe', 'ipc'],
        });
  return watch(child);
}

function watch(child: ChildProcess): Child {
  const queue: unknown[] = [];
  const waiting: Array<{ resolve: (message: unknown) => void; reject: (error: Error) => void }> = [];
  let errors = '';
  let ended: Error | undefined;
  child.stderr?.setEncoding('utf8').on('data', (text: string) => (errors += text));
  child.on('message', (message) => {
    const waiter = waiting.shift();
    if (waiter === undefined) queue.push(message);
    else waiter.resolve(message);
  });
  const exited = once(child, 'close').then(([code, signal]) => {
    ended = new Error(`The child ended with ${code ?? signal}. It said: ${errors}`);
    for (const waiter of waiting) waiter.reject(ended);
    return { code: code as number | null, signal: signal as NodeJS.Signals | null };
  });
  const kill = async (signal: NodeJS.Signals = 'SIGKILL'): Promise<void> => {
    child.kill(signal);
    await exited;
  };
  onTestFinished(() => kill());
  return {
    process: child,
    exited,
    kill,
    send: (message) => void child.send(message as object),
    next: () =>
      new Promise((resolve, reject) => {
        if (queue.length > 0) resolve(queue.shift());
        else if (ended !== undefined) reject(ended);
        else waiting.push({ resolve, reject });
      }),
  };
}

/** The child's next message that `fits`. */
export async function nextThat<T>(child: Child, fits: (message: T) => boolean): Promise<T> {
  for (;;) {
    const message = (await child.next()) as T;
    if (fits(message)) return message;
  }
}
