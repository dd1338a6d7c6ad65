/** A MessagePort to a worker thread: no second process, and bytes are copied by structured clone. */
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { parentPort, Worker } from 'node:worker_threads';
import { counter, NOTHING, type Peer } from './peer.ts';

export const messagePort: Peer = {
  async open(options) {
    const program = fileURLToPath(new URL('../peer-server.js', import.meta.url));
    const worker = new Worker(program, { argv: ['message-port', JSON.stringify(options)] });
    const [first] = (await once(worker, 'message')) as unknown[];
    if (first !== 'ready') throw new Error(`Expected the worker to be ready, got ${String(first)}`);
    const client = {
      serverPid: null,
      onAnswer: (_answer: Uint8Array, _count: number): void => undefined,
      // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread, no window
      post: (message: Uint8Array) => worker.postMessage(message),
    };
    worker.on('message', (answer: Uint8Array | null) => client.onAnswer(answer ?? NOTHING, 1));
    return client;
  },

  serve({ countEvery }) {
    const port = parentPort;
    if (port === null) throw new Error('Expected to be a worker thread');
    const count = counter(countEvery, () => port.postMessage(null));
    port.on('message', (message: Uint8Array) => {
      if (countEvery === 0) port.postMessage(message);
      else count();
    });
    return Promise.resolve();
  },
};
