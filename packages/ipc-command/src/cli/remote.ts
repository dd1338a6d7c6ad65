/** Any command server, without its definition. */
import { ProtocolError, type CallOptions, type IpcClient } from '@spanwire/ipc-core';
import { decodeAnswer, encodeRequest } from '../codec.ts';
import { DESCRIBE, type CommandDescription, type Description } from '../description.ts';
import { UnknownCommandError } from '../errors.ts';
import { transportOf } from '../transport.ts';

export class Remote {
  readonly #ipc: IpcClient;

  private constructor(ipc: IpcClient) {
    this.#ipc = ipc;
  }

  /** Connects, lets `use` work, and disconnects. */
  static async with<T>(address: string, use: (remote: Remote) => Promise<T>): Promise<T> {
    const transport = await transportOf(address);
    const ipc = transport.createClient(address, {});
    try {
      await ipc.connect();
      return await use(new Remote(ipc));
    } finally {
      await ipc.close();
    }
  }

  async describe(options: CallOptions): Promise<Description> {
    const description = await this.call(DESCRIBE, undefined, options);
    if (!isDescription(description)) {
      throw new ProtocolError('Expected the description of a command server, got another value');
    }
    return description;
  }

  /** The description of one command. */
  async describeCommand(name: string, options: CallOptions): Promise<CommandDescription> {
    const { commands } = await this.describe(options);
    const described = Object.hasOwn(commands, name) ? commands[name] : undefined;
    if (described === undefined) throw new UnknownCommandError(name);
    return described;
  }

  async call(name: string, payload: unknown, options: CallOptions): Promise<unknown> {
    return decodeAnswer(name, await this.#ipc.request(encodeRequest(name, payload), options));
  }

  /** Items one at a time: the server waits for whoever reads them. */
  async *watch(name: string, payload: unknown, options: CallOptions): AsyncGenerator<unknown, void, undefined> {
    for await (const item of this.#ipc.request$(encodeRequest(name, payload), options)) yield decodeAnswer(name, item);
  }
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
