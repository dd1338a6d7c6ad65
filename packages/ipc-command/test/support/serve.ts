import {
  commandClient,
  serveCommands,
  type CommandFailure,
  type Commands,
  type FailureOptions,
} from '@spanwire/ipc-command';
import { createMemoryClient, createMemoryServer } from '@spanwire/ipc-core';
import { onTestFinished } from 'vitest';

/** Serves `served`, and gives clients with other ideas of it. */
export async function serve<C extends Commands['definitions']>(
  served: Commands<C>,
  handlers: Parameters<typeof serveCommands<C, undefined>>[2],
  onFailure?: FailureOptions['onFailure'],
) {
  const name = `errors ${Math.random()}`;
  const failures: CommandFailure[] = [];
  const server = createMemoryServer(name);
  serveCommands(server, served, handlers, undefined, { onFailure: onFailure ?? ((failure) => failures.push(failure)) });
  await server.listen();
  onTestFinished(() => server.close());
  const connect = <D extends Commands['definitions']>(definition: Commands<D>, anyVersion = false) => {
    const ipc = createMemoryClient(name, anyVersion ? {} : { hello: definition.hello });
    onTestFinished(() => ipc.close());
    return { client: commandClient(definition, ipc), ipc };
  };
  return { server, failures, connect };
}
