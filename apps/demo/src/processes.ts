/** Child processes: the server and the clients. */
import { spawn, type ChildProcessByStdio } from 'node:child_process';
import { once } from 'node:events';
import type { Readable, Writable } from 'node:stream';
import { fileURLToPath } from 'node:url';

export type Child = ChildProcessByStdio<Writable, Readable, null>;

/**
 * Starts a program of ours in a process group of its own: Ctrl-C in the terminal is for the main process, which lets the
 * others finish. None of them outlives it: a connection, or standard input, tells them that it is gone.
 */
export function start(program: URL, parameters: readonly string[]): Child {
  return spawn(process.execPath, [fileURLToPath(program), ...parameters], {
    stdio: ['pipe', 'pipe', 'inherit'],
    detached: true,
  });
}

/** Waits for the end of `child`. Undefined: all went well; else what happened. */
export async function ended(child: Child): Promise<string | undefined> {
  if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
  if (child.exitCode === 0) return undefined;
  return child.signalCode === null ? `exit code ${child.exitCode}` : `ended by ${child.signalCode}`;
}
