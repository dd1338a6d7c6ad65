// @ts-check
// A list of inputs, hashed by Barretenberg's published server: over a socket and over shared memory, many at once on the event loop and one by one
// in blocking calls. Every hash is checked.
//   node hash-with-barretenberg.mjs [how many inputs]
import { spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import {
  isMainThread,
  MessageChannel,
  parentPort,
  receiveMessageOnPort,
  Worker,
  workerData,
} from 'node:worker_threads';
import { findBbBinary } from '@aztec/bb.js/platform';
import { msgpack, requestEach } from '@spanwire/ipc-rx';
import { createShmClient, createShmSyncClient } from '@spanwire/ipc-shm-native';
import { createSocketClient } from '@spanwire/ipc-socket';
import { from, lastValueFrom, map, toArray } from 'rxjs';

/**
 * Starts the server and waits until it is ready: on a socket when `input` ends with ".sock", in shared memory of that name when it ends with ".shm".
 * It ends with us: when it is disposed of, and also when this process dies (then the system tells it).
 *
 * @param {string} program @param {string} input
 */
async function startBarretenberg(program, input) {
  const server = spawn(program, ['msgpack', 'run', '--input', input], {
    env: { ...process.env, HARDWARE_CONCURRENCY: '1' },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  const lines = createInterface({ input: server.stderr });
  for await (const line of lines) if (line === 'IPC server ready') break;
  server.stderr.resume();
  return {
    async dispose() {
      const ended = once(server, 'exit');
      if (server.kill('SIGTERM')) await ended;
    },
  };
}

/**
 * Blocking calls over a socket: Node has no blocking sockets, so a worker waits for the answer, and this thread for the worker.
 *
 * @param {string} path
 */
async function blockingSocketClient(path) {
  const wake = new Int32Array(new SharedArrayBuffer(4));
  const { port1, port2 } = new MessageChannel();
  const worker = new Worker(new URL(import.meta.url), {
    workerData: { path, wake, port: port2 },
    transferList: [port2],
  });
  await once(worker, 'message');
  return {
    /** @param {Uint8Array} data @returns {Uint8Array<ArrayBuffer>} */
    call(data) {
      Atomics.store(wake, 0, 0);
      port1.postMessage(data);
      Atomics.wait(wake, 0, 0);
      return receiveMessageOnPort(port1)?.message;
    },
    async close() {
      const ended = once(worker, 'exit');
      port1.postMessage(null);
      await ended;
    },
  };
}

async function waitForOthers() {
  const { path, wake, port } = workerData;
  const client = createSocketClient(path, { framing: 'plain' });
  await client.connect();
  port.on('message', async (/** @type {Uint8Array | null} */ data) => {
    if (data === null) {
      port.close();
      await client.close();
      return;
    }
    port.postMessage(await client.request(data));
    Atomics.store(wake, 0, 1);
    Atomics.notify(wake, 0);
  });
  // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a port, not a window
  parentPort?.postMessage('ready');
}

/**
 * @typedef {import('@spanwire/ipc-core').IpcClient} IpcClient
 * @param {Buffer[]} inputs @param {Pick<IpcClient, 'request'>} client @param {number} concurrency
 */
async function hashAll(inputs, client, concurrency) {
  const before = performance.now();
  const hashes = await lastValueFrom(
    from(inputs).pipe(
      map((data) => msgpack.encode([['Blake2s', { data }]])),
      requestEach(/** @type {IpcClient} */ (client), { concurrency, order: 'request' }),
      map((answer) => /** @type {[string, { hash: Uint8Array }]} */ (msgpack.decode(answer))[1].hash),
      toArray(),
    ),
  );
  const us = ((performance.now() - before) * 1000) / inputs.length;
  const right = hashes.filter((hash, i) =>
    createHash('blake2s256')
      .update(inputs[i] ?? '')
      .digest()
      .equals(hash),
  );
  return { right: right.length, usPerHash: Math.round(us * 100) / 100 };
}

/** A blocking client as one that {@link requestEach} takes. @param {{ call(data: Uint8Array): Uint8Array<ArrayBuffer> }} client */
const blocking = (client) => ({ request: (/** @type {Uint8Array} */ data) => Promise.resolve(client.call(data)) });

async function main() {
  const program = findBbBinary();
  if (program === null || process.platform !== 'linux') {
    console.log(JSON.stringify({ skipped: `no server for ${process.platform} ${process.arch}` }));
    return;
  }
  const inputs = Array.from({ length: Number(process.argv[2] ?? 2000) }, (_, i) => randomBytes(i % 1000));
  const folder = await mkdtemp(join(tmpdir(), 'spanwire-'));
  const socket = join(folder, 'bb.sock');
  const name = `spanwire-example-${process.pid}`;
  /** @type {Record<string, { right: number, usPerHash: number }>} */
  const results = {};
  {
    const server = await startBarretenberg(program, socket);
    const client = createSocketClient(socket, { framing: 'plain' });
    await client.connect();
    results['async over a socket'] = await hashAll(inputs, client, 64);
    await client.close();
    const caller = await blockingSocketClient(socket);
    results['blocking over a socket'] = await hashAll(inputs, blocking(caller), 1);
    await caller.close();
    await server.dispose();
  }
  {
    const server = await startBarretenberg(program, `${name}.shm`);
    const client = createShmClient(name, { layout: 'barretenberg' });
    await client.connect();
    results['async over shared memory'] = await hashAll(inputs, client, 64);
    await client.close();
    const caller = createShmSyncClient(name, { layout: 'barretenberg' });
    results['blocking over shared memory'] = await hashAll(inputs, blocking(caller), 1);
    caller.close();
    await server.dispose();
  }
  await rm(folder, { recursive: true, force: true });
  console.table(results);
  console.log(JSON.stringify({ inputs: inputs.length, right: Object.values(results).map(({ right }) => right) }));
}

await (isMainThread ? main() : waitForOthers());
