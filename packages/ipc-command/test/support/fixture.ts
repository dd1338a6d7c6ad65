/** Other processes: what has two sides in use has two in its test. */
import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { onTestFinished } from 'vitest';

export class Fixture {
  readonly process: ChildProcess;
  readonly #answers = new Map<number, (answer: never) => void>();
  readonly #messages: unknown[] = [];
  #onMessage: (() => void) | undefined;
  #next = 1;

  constructor(process: ChildProcess) {
    this.process = process;
    process.on('message', (message: { id?: number; answer?: never } | string) => {
      const settle = typeof message === 'object' ? this.#answers.get(message.id ?? 0) : undefined;
      if (settle === undefined || typeof message === 'string') {
        this.#messages.push(message);
        this.#onMessage?.();
      } else settle(message.answer as never);
    });
  }

  /** Asks the server fixture, and waits for its answer. */
  ask<T>(question: string): Promise<T> {
    const id = this.#next++;
    return new Promise((resolve) => {
      this.#answers.set(id, resolve);
      this.process.send({ id, question });
    });
  }

  /** The next message that is no answer. */
  async message(): Promise<unknown> {
    while (this.#messages.length === 0) {
      await new Promise<void>((resolve, reject) => {
        this.#onMessage = resolve;
        this.process.once('exit', (code) => reject(new Error(`The fixture ended with ${code}`)));
      });
    }
    return this.#messages.shift();
  }
}

/** Starts a fixture that says "ready"; it is ended with the test. */
export async function startFixture(name: string, ...parameters: string[]): Promise<Fixture> {
  const path = fileURLToPath(new URL(`../fixtures/${name}.mjs`, import.meta.url));
  const process = fork(path, parameters, { execArgv: ['--expose-gc'], serialization: 'advanced' });
  onTestFinished(async () => {
    if (process.exitCode !== null || process.signalCode !== null) return;
    const exited = once(process, 'exit');
    process.kill('SIGKILL');
    await exited;
  });
  const fixture = new Fixture(process);
  const first = await fixture.message();
  if (first !== 'ready') throw new Error(`Expected the fixture to be ready, got ${JSON.stringify(first)}`);
  return fixture;
}
