/** A server that blocks its thread: `node blocking-server.js PATH`. Ends with whoever holds the other end of its standard input. */
import { Worker } from 'node:worker_threads';
import { createShmServer } from '@spanwire/ipc-shm-native';

const [path = ''] = process.argv.slice(2);
const stop = new Int32Array(new SharedArrayBuffer(4));
new Worker(new URL('./stop-at-end-of-input.js', import.meta.url), { workerData: stop }).unref();
createShmServer(`shm:${path}`).runSync((_clientId, request) => request, { stop });
process.exit();
