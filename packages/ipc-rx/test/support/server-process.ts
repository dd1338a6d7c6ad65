import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { Log } from './log.ts';

const program = fileURLToPath(new URL('../fixtures/server.mjs', import.meta.url));

/** A server in a process of its own, with what it said. */
export class ServerProcess implements AsyncDisposable {
  readonly said = new Log<Record<string, string>>();
  readonly #child: ChildProcess;

  constructor(module: string, factory: string, address: string, name: string) {
    this.#child = fork(program, [module, factory, address, name]);
    this.#child.on('message', (message) => this.said.add(message as Record<string, string>));
  }

  /** Ends it as a crash would. */
  async kill(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    this.#child.kill('SIGKILL');
    await once(this.#child, 'exit');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
  }
}
