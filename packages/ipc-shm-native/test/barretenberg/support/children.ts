/** Programs of `fixtures`, each in a process of its own that ends with the test. */
import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { onTestFinished } from 'vitest';

export interface Child {
  readonly process: ChildProcess;
  /** The next message of the child; rejects when it ends first. */
  next(): Promise<unknown>;
  send(message: object): void;
  readonly exited: Promise<{ code: number | null; signal: NodeJS.Signals | null }>;
}

/** Forks `fixtures/<name>` with `options` as its JSON argument. */
export function start(name: string, options: object): Child {
  const file = fileURLToPath(new URL(`../fixtures/${name}`, import.meta.url));
  const child = fork(file, [JSON.stringify(options)], { stdio: ['ignore', 'inherit', 'pipe', 'ipc'] });
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
  onTestFinished(async () => {
    child.kill('SIGKILL');
    await exited;
  });
  return {
    process: child,
    exited,
    send: (message) => void child.send(message),
    next: () =>
      new Promise((resolve, reject) => {
        if (queue.length > 0) resolve(queue.shift());
        else if (ended !== undefined) reject(ended);
        else waiting.push({ resolve, reject });
      }),
  };
}
