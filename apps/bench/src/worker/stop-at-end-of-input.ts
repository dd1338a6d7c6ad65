/** The thread beside blocking-server.ts: nothing else in that process can wait for anything. */
import { createReadStream } from 'node:fs';
import { workerData } from 'node:worker_threads';

const STANDARD_INPUT = 0;
const stop = workerData as Int32Array;
createReadStream('', { fd: STANDARD_INPUT })
  .resume()
  .once('close', () => {
    Atomics.store(stop, 0, 1);
    Atomics.notify(stop, 0);
  });
