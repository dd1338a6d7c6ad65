/** The reactive server: commands run as they come. */
import type { HandleOptions, IpcServer } from '@spanwire/ipc-core';
import type { Subscription } from 'rxjs';
import { answerAll } from './answer-all.ts';
import type { CommandMap } from './command.ts';
import type { Commands } from './define-commands.ts';
import { Dispatcher } from './dispatcher.ts';
import type { CommandHandlers, FailureOptions } from './handlers.ts';
import { runHandlers } from './run-handlers.ts';

export interface ServeCommandsOptions extends FailureOptions, HandleOptions {}

/**
 * Runs commands as they come, on a server of any transport, and returns the Subscription that ends it: what was taken until then is still
 * answered, and what comes later waits for the next subscriber. Handlers run concurrently unless `concurrency` says otherwise. Throws TypeError
 * when handlers are missing.
 *
 * @example
 * const server = createSocketServer('unix:/run/user/1000/stack.sock');
 * serveCommands(server, commands, { push: ({ x }, stack: number[]) => ({ length: stack.push(x) }) }, []);
 * await server.listen();
 */
export function serveCommands<C extends CommandMap, Context>(
  server: IpcServer,
  commands: Commands<C>,
  handlers: CommandHandlers<NoInfer<C>, Context>,
  context: Context,
  options: ServeCommandsOptions = {},
): Subscription {
  const { onFailure, ...handleOptions } = options;
  const run = runHandlers(commands, handlers);
  const dispatcher = new Dispatcher(server, commands, onFailure === undefined ? {} : { onFailure });
  const subscription = answerAll(
    server,
    (_clientId, _span, request) => dispatcher.handle(request, (opened) => run(opened, context)),
    handleOptions,
  );
  subscription.add(dispatcher.subscription);
  return subscription;
}
