/** One spawned process: its descriptors, its channel, its end. */
import { spawn, type ChildProcess, type StdioOptions } from 'node:child_process';
import { existsSync } from 'node:fs';
import type { Socket } from 'node:net';
import type { Readable } from 'node:stream';
import { PeerGoneError, SystemError, type Channel, type ClientContext } from '@spanwire/ipc-core';
import { openChannelOn } from '@spanwire/ipc-socket';
import { ProcessExitedError } from './process-exited-error.ts';
import { CHANNEL_FD, type Command } from './program.ts';

/** How a process ended: one of the two is set. */
export interface ExitReport {
  readonly pid: number;
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** What becomes of an output of a process: as in node:child_process. A number is a descriptor of this process. */
export type OutputTarget = 'inherit' | 'ignore' | 'pipe' | number;

export interface ChildSettings {
  readonly env: NodeJS.ProcessEnv | undefined;
  readonly cwd: string | URL | undefined;
  readonly stdout: OutputTarget;
  readonly stderr: OutputTarget;
  readonly killAfterMs: number;
}

export class Child {
  readonly pid: number;
  readonly path: string;
  /** Resolves when the process is gone and reaped. */
  readonly exited: Promise<ExitReport>;
  readonly #process: ChildProcess;
  readonly #killAfterMs: number;

  private constructor(child: ChildProcess, pid: number, path: string, killAfterMs: number) {
    this.#process = child;
    this.#killAfterMs = killAfterMs;
    this.pid = pid;
    this.path = path;
    this.exited = new Promise((resolve) => {
      child.once('exit', (code, signal) => resolve({ pid, code, signal }));
    });
  }

  /** Starts `command`; rejects with ERR_IPC_SYSTEM when the system cannot execute it, TypeError when it cannot be a command. */
  static async start(command: Command, settings: ChildSettings): Promise<Child> {
    // One socket pair; both ends are closed on exec everywhere but in this child.
    const stdio: StdioOptions = ['ignore', settings.stdout, settings.stderr, 'pipe'];
    const { env, cwd, killAfterMs } = settings;
    try {
      const child = spawn(command.file, command.parameters, { stdio, env, cwd, windowsHide: true });
      const { pid } = child;
      await new Promise<void>((resolve, reject) => {
        child.once('spawn', resolve);
        child.once('error', reject);
      }).catch((error: unknown) => {
        for (const stream of child.stdio) stream?.destroy();
        throw error;
      });
      // Later errors are of kill() alone, which says so itself.
      child.on('error', () => undefined);
      return new Child(child, pid ?? 0, command.path, killAfterMs);
    } catch (error) {
      const { code = 'UNKNOWN', syscall } = error as NodeJS.ErrnoException;
      // Node's own words for arguments that cannot be, such as a NUL in the environment.
      if (syscall === undefined && error instanceof TypeError) throw error;
      // The system says ENOENT for either.
      const what = code === 'ENOENT' && cwd !== undefined && !existsSync(cwd) ? ` in \`cwd\` ${String(cwd)}` : '';
      throw new SystemError('spawn', code, `Starting ${command.path}${what} failed: ${code}`, { cause: error });
    }
  }

  get stdout(): Readable | null {
    return this.#process.stdout;
  }

  get stderr(): Readable | null {
    return this.#process.stderr;
  }

  /** Opens the channel. To be called once. */
  open(context: ClientContext, signal: AbortSignal): Promise<Channel> {
    return openChannelOn(this.#process.stdio[CHANNEL_FD] as Socket, context, signal);
  }

  /** After `error` in a start: sees to it that the process ends, killed after `patienceMs`. When it ended by itself, that is the reason. */
  async explain(error: unknown, patienceMs: number): Promise<unknown> {
    const socket = this.#process.stdio[CHANNEL_FD] as Socket;
    socket.destroy();
    let killed = false;
    const timer = setTimeout(() => {
      killed = true;
      this.#process.kill('SIGKILL');
    }, patienceMs);
    const exit = await this.exited;
    clearTimeout(timer);
    return killed || !(error instanceof PeerGoneError)
      ? error
      : new ProcessExitedError(this.path, exit, { cause: error });
  }

  /** Waits for the end of the process, which has been told to end; after `killAfterMs` it is killed. */
  async end(): Promise<ExitReport> {
    const timer = setTimeout(() => this.#process.kill('SIGKILL'), this.#killAfterMs);
    try {
      return await this.exited;
    } finally {
      clearTimeout(timer);
    }
  }

  kill(signal: NodeJS.Signals): boolean {
    return this.#process.kill(signal);
  }
}
