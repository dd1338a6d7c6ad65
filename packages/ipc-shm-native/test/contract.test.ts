import { describeTransport } from '@spanwire/ipc-core/testing';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createShmClient, createShmServer, shmConnect } from '../src/index.ts';

function describeSharedMemory(name: string, externalBuffers: boolean): void {
  describeTransport(name, {
    framing: 'spanwire',
    knowsPeers: true,
    open: () => {
      const directory = mkdtempSync(join(tmpdir(), 'spanwire-test-'));
      const own = { directory, externalBuffers };
      return {
        createServer: ({ windowBytes, responseWindowBytes, ...options } = {}) =>
          createShmServer('contract', {
            ...options,
            ...own,
            requestRingBytes: windowBytes,
            responseRingBytes: responseWindowBytes,
          }),
        createClient: (options) => createShmClient('contract', { ...options, ...own }),
        connect: shmConnect('contract', own),
        dispose: () => rmSync(directory, { recursive: true }),
      };
    },
  });
}

describeSharedMemory('shared memory', true);
describeSharedMemory('shared memory, copying', false);
