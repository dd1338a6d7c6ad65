/**
 * A controller with two workers: one is called over shared memory where there is any, the other over a socket. They share an object that lives in
 * the first one, call back into the controller, and the second is started again when it is killed.
 *
 *     node packages/ipc-process/examples/controller.mjs
 */
import { createIpc } from '@spanwire/ipc-process';
import { filter, firstValueFrom, lastValueFrom, take, toArray } from 'rxjs';

const ipc = createIpc();

/**
 * @param {string} transport
 * @param {import('@spanwire/ipc-process').SpawnOptions} [options]
 * @returns {Promise<import('@spanwire/ipc-process').RemoteInit<import('./worker.mjs').Worker>>}
 */
async function spawnOver(transport, options = {}) {
  const worker = await ipc.spawnProcess('worker', { ...options, transport });
  console.log(`a worker is called over ${transport}`);
  return worker;
}

/** Shared memory needs Linux and the native package; without it, a socket does as well. */
async function spawnFirst() {
  try {
    return await spawnOver('shm');
  } catch (error) {
    const { code } = /** @type {{ code?: unknown }} */ (error);
    if (code !== 'ERR_IPC_NATIVE_UNAVAILABLE' && code !== 'ERR_IPC_UNSUPPORTED') throw error;
    return await spawnOver('unix');
  }
}

try {
  const first = await spawnFirst();
  const second = await spawnOver('unix', { restart: { delaysMs: [10, 100, 1000], max: 5 } });

  // The store lives in the first worker. The second one gets a proxy, and its calls go through this process.
  const store = await first.store();
  await Promise.all([first.countPrimes(0, 1000, store), second.countPrimes(1000, 2000, store)]);
  console.log(`primes below 1000: ${await store.get('0-1000')}, from there to 2000: ${await store.get('1000-2000')}`);

  // A function of this process, called by the worker while it works.
  const steps = [];
  await second.inSteps(3, (step) => steps.push(step));
  console.log(`called back: ${steps.join(', ')}`);

  // An Observable of the worker; take(3) ends it there.
  const heartbeats$ = await second.heartbeats(5);
  const heartbeats = await lastValueFrom(heartbeats$.pipe(take(3), toArray()));
  console.log('heartbeats:', heartbeats.join(','));

  // The end of a worker fails what it was asked for, and nothing is asked twice without your knowing.
  const spawned = ipc.processOf(second);
  const call = second.never();
  spawned.kill('SIGKILL');
  await call.catch((/** @type {Error} */ error) => console.log(`in flight: ${error.message}`));
  await firstValueFrom(spawned.state$.pipe(filter((state) => state.status === 'running' && state.restarts === 1)));
  await second.countPrimes(2000, 3000, store);
  console.log(`after the restart: ${await store.get('2000-3000')} primes`);
} finally {
  // Ends both workers, and waits for them.
  await ipc[Symbol.asyncDispose]();
}
console.log('both workers have ended');
