import { describeTransport } from '@spanwire/ipc-core/testing';
import { rmSync } from 'node:fs';
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createSocketClient, createSocketServer, socketConnect, type Framing } from '../src/index.ts';

function describeSockets(framing: Framing): void {
  describeTransport(`sockets, ${framing} framing`, {
    framing,
    open: async () => {
      const directory = await mkdtemp(join(tmpdir(), 'spanwire-test-'));
      const address = `unix:${join(directory, 'contract.sock')}`;
      return {
        createServer: (options) => createSocketServer(address, options),
        createClient: (options) => createSocketClient(address, { ...options, framing }),
        connect: socketConnect(address, { framing }),
        dispose: () => rmSync(directory, { recursive: true }),
      };
    },
  });
}

describeSockets('spanwire');
describeSockets('plain');
