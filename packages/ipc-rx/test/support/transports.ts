import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createMemoryClient, createMemoryServer } from '@spanwire/ipc-core';
import type { ClientOptions, IpcClient, IpcServer, ServerOptions } from '@spanwire/ipc-core';
import { createShmClient, createShmServer } from '@spanwire/ipc-shm-native';
import { createSocketClient, createSocketServer } from '@spanwire/ipc-socket';

/** A listening server with clients, in this process. */
export interface Scene extends AsyncDisposable {
  readonly server: IpcServer;
  connect(options?: ClientOptions): Promise<IpcClient>;
  /** A new server on the same address, once the one before is closed. */
  replaceServer(): Promise<IpcServer>;
}

/** A transport that the operators are tested over. */
export interface TestedTransport {
  readonly name: string;
  readonly open: (options?: ServerOptions) => Promise<Scene>;
}

let names = 0;

const sharedMemory: TestedTransport = {
  name: 'shared memory',
  open: async ({ windowBytes, responseWindowBytes, ...options } = {}) => {
    const folder = await mkdtemp(join(tmpdir(), 'spanwire-rx-'));
    const address = `shm:${folder}/s`;
    const make = (clientOptions?: ClientOptions): IpcClient => createShmClient(address, clientOptions);
    // The rings are the windows.
    const rings = { requestRingBytes: windowBytes, responseRingBytes: responseWindowBytes };
    return openScene(
      () => createShmServer(address, { ...options, ...rings }),
      make,
      () => rm(folder, { recursive: true }),
    );
  },
};

/** Every operator passes its integration tests over each of these. */
export const transports: readonly TestedTransport[] = [
  {
    name: 'memory',
    open: async (options) => {
      const name = `scene-${++names}`;
      const make = (clientOptions?: ClientOptions): IpcClient => createMemoryClient(name, clientOptions);
      return openScene(
        () => createMemoryServer(name, options),
        make,
        () => Promise.resolve(),
      );
    },
  },
  {
    name: 'unix sockets',
    open: async (options) => {
      const folder = await mkdtemp(join(tmpdir(), 'spanwire-rx-'));
      const address = `unix:${folder}/s`;
      const make = (clientOptions?: ClientOptions): IpcClient => createSocketClient(address, clientOptions);
      return openScene(
        () => createSocketServer(address, options),
        make,
        () => rm(folder, { recursive: true }),
      );
    },
  },
  ...(process.platform === 'linux' ? [sharedMemory] : []),
];

/** Transports whose server can be in a process of its own. */
export const betweenProcesses: ReadonlyArray<{
  readonly name: string;
  /** What makes a server there: an export of a module. */
  readonly module: string;
  readonly factory: string;
  readonly address: (folder: string) => string;
  readonly client: (address: string, options?: ClientOptions) => IpcClient;
}> = [
  {
    name: 'unix sockets',
    module: '@spanwire/ipc-socket',
    factory: 'createSocketServer',
    address: (folder) => `unix:${folder}/s`,
    client: createSocketClient,
  },
  ...(process.platform === 'linux'
    ? [
        {
          name: 'shared memory',
          module: '@spanwire/ipc-shm-native',
          factory: 'createShmServer',
          address: (folder: string) => `shm:${folder}/s`,
          client: createShmClient,
        },
      ]
    : []),
];

/** A folder that is removed at the end of the scope. */
export async function temporaryFolder(): Promise<AsyncDisposable & { readonly path: string }> {
  const path = await mkdtemp(join(tmpdir(), 'spanwire-rx-'));
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) };
}

async function openScene(
  makeServer: () => IpcServer,
  makeClient: (options?: ClientOptions) => IpcClient,
  cleanUp: () => Promise<void>,
): Promise<Scene> {
  const clients: IpcClient[] = [];
  const servers: IpcServer[] = [];
  const listen = async (): Promise<IpcServer> => {
    const server = makeServer();
    servers.push(server);
    await server.listen();
    return server;
  };
  const server = await listen();
  return {
    server,
    replaceServer: listen,
    connect: async (options) => {
      const client = makeClient(options);
      clients.push(client);
      await client.connect();
      return client;
    },
    [Symbol.asyncDispose]: async () => {
      await Promise.all(clients.map((client) => client.close()));
      await Promise.all(servers.map((each) => each.close()));
      await cleanUp();
    },
  };
}
