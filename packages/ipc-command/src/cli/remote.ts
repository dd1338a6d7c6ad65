/** Any command server, without its definition. */
import { IpcError, ProtocolError, TimeoutError, type CallOptions, type IpcClient } from '@spanwire/ipc-core';
import { decodeAnswer, encodeRequest } from '../codec.ts';
import { DESCRIBE, type CommandDescription, type Description } from '../description.ts';
import { UnknownCommandError } from '../errors.ts';
import { transportOf } from '../transport.ts';

export class Remote {
  readonly #ipc: IpcClient;
  readonly #options: CallOptions;

  private constructor(ipc: IpcClient, options: CallOptions) {
    this.#ipc = ipc;
    this.#options = options;
  }

  /** Connects, lets `use` work, and disconnects: all within `timeoutMs`, if that is given. */
  static async with<T>(
    address: string,
    timeoutMs: number | undefined,
    use: (remote: Remote) => Promise<T>,
  ): Promise<T> {
    const transport = await transportOf(address);
    // What cannot be sent in time is not worth waiting for at the end, either.
    const limits = timeoutMs === undefined ? {} : { handshakeTimeoutMs: Math.max(1, timeoutMs), graceMs: timeoutMs };
    const ipc = transport.createClient(address, limits);
    const limit = new AbortController();
    const timer = timeoutMs === undefined ? undefined : setTimeout(() => limit.abort(tooLate(timeoutMs)), timeoutMs);
    try {
      await ipc.connect();
      return await use(new Remote(ipc, { signal: limit.signal }));
    } finally {
      clearTimeout(timer);
      await ipc.close();
    }
  }

  async describe(): Promise<Description> {
    const description = await this.call(DESCRIBE, undefined);
    if (!isDescription(description)) {
      throw new ProtocolError('Expected the description of a command server, got another value');
    }
    return description;
  }

  /** The description of one command. */
  async describeCommand(name: string): Promise<CommandDescription> {
    const { commands } = await this.describe();
    const described = Object.hasOwn(commands, name) ? commands[name] : undefined;
    if (described === undefined) throw new UnknownCommandError(name);
    return described;
  }

  async call(name: string, payload: unknown): Promise<unknown> {
    let answer: Uint8Array;
    try {
      answer = await this.#ipc.request(encodeRequest(name, payload), this.#options);
    } catch (error) {
      // The server's own word for it, which is for those who write programs.
      if (!(error instanceof IpcError && error.code === 'ERR_IPC_UNSUPPORTED')) throw error;
      const message = `Expected ${JSON.stringify(name)} to have one answer, got a stream of items: use watch`;
      throw new IpcError('ERR_IPC_UNSUPPORTED', message, { cause: error });
    }
    return decodeAnswer(name, answer);
  }

  /** Items one at a time: the server waits for whoever reads them. */
  async *watch(name: string, payload: unknown): AsyncGenerator<unknown, void, undefined> {
    const items$ = this.#ipc.request$(encodeRequest(name, payload), this.#options);
    for await (const item of items$) yield decodeAnswer(name, item);
  }
}

function tooLate(timeoutMs: number): TimeoutError {
  return new TimeoutError(`Expected the server to answer within ${timeoutMs} ms, got no answer`, timeoutMs);
}

function isDescription(value: unknown): value is Description {
  if (typeof value !== 'object' || value === null || !('commands' in value)) return false;
  const { commands } = value;
  if (typeof commands !== 'object' || commands === null) return false;
  return Object.values(commands).every(
    (each: unknown) =>
      typeof each === 'object' && each !== null && 'kind' in each && (each.kind === 'call' || each.kind === 'stream'),
  );
}
