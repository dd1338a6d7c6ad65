// @ts-check
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { createShmClient } from '@spanwire/ipc-shm-native';
import { createSocketClient } from '@spanwire/ipc-socket';

const program = fileURLToPath(new URL('server.mjs', import.meta.url));

/** A server process, and a client of it here. @param {string} address @param {string} pipeline */
export async function connectToProcess(address, pipeline) {
  const child = fork(program, [address, pipeline]);
  await once(child, 'message');
  const client = address.startsWith('shm:') ? createShmClient(address) : createSocketClient(address);
  await client.connect();
  return {
    client,
    close: async () => {
      await client.close();
      child.disconnect();
      await once(child, 'exit');
    },
  };
}
