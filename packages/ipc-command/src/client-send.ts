/** One command and no more. */
import type { CallOptions } from '@spanwire/ipc-core';
import { createCommandClient, type CommandClientOptions } from './command-client.ts';
import type { CommandMap, RequestInput, ResponseOutput } from './command.ts';
import type { Commands } from './define-commands.ts';

/** The names of commands that have one answer. */
export type CallNames<C extends CommandMap> = {
  [K in keyof C & string]: C[K]['kind'] extends 'call' ? K : never;
}[keyof C & string];

export interface ClientSendOptions extends CallOptions, CommandClientOptions {}

/**
 * Connects, sends one command, resolves with its answer, and disconnects. Waits without limit unless `timeoutMs` says otherwise: a lazy
 * server answers when it polls. Rejects as the methods of `createCommandClient` do, and with TypeError when `name` is no command with one answer.
 *
 * @example
 * const { sum } = await clientSend(commands, 'add', { a: 5, b: 3 }, 'unix:/run/user/1000/stack.sock');
 */
export async function clientSend<C extends CommandMap, Name extends CallNames<C>>(
  commands: Commands<C>,
  name: Name,
  payload: RequestInput<C[Name]>,
  address: string,
  options: ClientSendOptions = {},
): Promise<ResponseOutput<C[Name]>> {
  const kind = Object.hasOwn(commands.definitions, name) ? commands.definitions[name]?.kind : undefined;
  if (kind !== 'call') {
    const got = kind === 'stream' ? 'a stream, which createCommandClient has a method for' : 'no command';
    throw new TypeError(
      `Expected \`name\` to be a command with one answer, got ${JSON.stringify(name)}, which is ${got}`,
    );
  }
  const { signal, timeoutMs, metadata, ...clientOptions } = options;
  const client = createCommandClient(commands, address, clientOptions);
  try {
    const method = client[name] as unknown as (
      payload: RequestInput<C[Name]>,
      options: CallOptions,
    ) => Promise<ResponseOutput<C[Name]>>;
    return await method(payload, { signal, timeoutMs, metadata });
  } finally {
    await client.close();
  }
}
