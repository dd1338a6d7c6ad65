import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createMemoryClient, createMemoryServer } from '@spanwire/ipc-core';
import type { ClientOptions, IpcClient, IpcServer, ServerOptions } from '@spanwire/ipc-core';
import { createSocketClient, createSocketServer } from '@spanwire/ipc-socket';

/** A listening server with clients, in this process. */
export interface Scene extends AsyncDisposable {
  readonly server: IpcServer;
  connect(options?: ClientOptions): Promise<IpcClient>;
}

/** A transport that the operators are tested over. */
export interface TestedTransport {
  readonly name: string;
  readonly open: (options?: ServerOptions) => Promise<Scene>;
}

let names = 0;

/** Every operator passes its integration tests over each of these. */
export const transports: readonly TestedTransport[] = [
  {
    name: 'memory',
    open: async (options) => {
      const name = `scene-${++names}`;
      const make = (clientOptions?: ClientOptions): IpcClient => createMemoryClient(name, clientOptions);
      return openScene(createMemoryServer(name, options), make, () => Promise.resolve());
    },
  },
  {
    name: 'unix sockets',
    open: async (options) => {
      const folder = await mkdtemp(join(tmpdir(), 'spanwire-rx-'));
      const address = `unix:${folder}/s`;
      const make = (clientOptions?: ClientOptions): IpcClient => createSocketClient(address, clientOptions);
      return openScene(createSocketServer(address, options), make, () => rm(folder, { recursive: true }));
    },
  },
];

async function openScene(
  server: IpcServer,
  makeClient: (options?: ClientOptions) => IpcClient,
  cleanUp: () => Promise<void>,
): Promise<Scene> {
  const clients: IpcClient[] = [];
  await server.listen();
  return {
    server,
    connect: async (options) => {
      const client = makeClient(options);
      clients.push(client);
      await client.connect();
      return client;
    },
    [Symbol.asyncDispose]: async () => {
      await Promise.all(clients.map((client) => client.close()));
      await server.close();
      await cleanUp();
    },
  };
}
