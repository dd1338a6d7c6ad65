/** From a record of handlers to the one function that a dispatcher runs. */
import type { CommandMap } from './command.ts';
import type { Commands } from './define-commands.ts';
import type { Opened } from './dispatcher.ts';
import type { CommandHandlers, CommandInfo } from './handlers.ts';

export type RunHandlers<Context> = (opened: Opened, context: Context) => unknown;

type AnyHandler<Context> = (payload: unknown, context: Context, info: CommandInfo) => unknown;

/** Throws TypeError unless there is one handler for each command, and no other. */
export function runHandlers<C extends CommandMap, Context>(
  commands: Commands<C>,
  handlers: CommandHandlers<C, Context>,
): RunHandlers<Context> {
  const given: unknown = handlers;
  if (typeof given !== 'object' || given === null) {
    throw new TypeError(`Expected \`handlers\` to be an object with a handler of each command, got ${String(given)}`);
  }
  const known = new Map<string, AnyHandler<Context>>();
  for (const name of Object.keys(commands.definitions)) {
    const handler: unknown = Object.hasOwn(handlers, name) ? handlers[name] : undefined;
    if (typeof handler !== 'function') {
      throw new TypeError(`Expected a handler of the command ${JSON.stringify(name)}, got ${typeof handler}`);
    }
    // Validated payloads are what the definition's types say.
    known.set(name, handler.bind(handlers) as AnyHandler<Context>);
  }
  const stray = Object.keys(handlers).find((name) => !known.has(name));
  if (stray !== undefined) {
    throw new TypeError(`Expected handlers of commands only, got one of ${JSON.stringify(stray)}, which is none`);
  }
  return ({ command, payload, info }, context) => known.get(command)?.(payload, context, info);
}
