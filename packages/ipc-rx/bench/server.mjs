// @ts-check
/** The servers of operators.mjs and cancellation.mjs, in processes of their own: node server.mjs ADDRESS PIPELINE. */
import { handle } from '@spanwire/ipc-rx';
import { createShmServer } from '@spanwire/ipc-shm-native';
import { createSocketServer } from '@spanwire/ipc-socket';
import { finalize, NEVER } from 'rxjs';
import { pipelines } from './pipelines.mjs';

const [address = '', name = ''] = process.argv.slice(2);
const server = address.startsWith('shm:') ? createShmServer(address) : createSocketServer(address);
const pipeline = pipelines[name];
if (pipeline !== undefined) {
  server.requests$.pipe(pipeline()).subscribe(server.responses);
} else {
  // Streams that say when they were torn down: as the answer to the next request, by the clock that all processes share.
  let tornDownAt = 0n;
  const stream$ = NEVER.pipe(finalize(() => (tornDownAt = process.hrtime.bigint())));
  const handler = (/** @type {number} */ _clientId, /** @type {Uint8Array} */ request) => {
    if (request[0] === 1) return stream$;
    if (request[0] === 2) return new Uint8Array(BigUint64Array.of(tornDownAt).buffer);
    return request;
  };
  server.requests$.pipe(handle(handler)).subscribe(server.responses);
}
await server.listen();
process.send?.('ready');
process.on('disconnect', () => process.exit());
