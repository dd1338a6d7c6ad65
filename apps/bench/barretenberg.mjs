// @ts-check
/**
 * Our clients of Barretenberg's published server against the published ones, hashing 64 bytes, in one run:
 *   node apps/bench/barretenberg.mjs [rounds, 31 unless said]
 * Every round measures both sides of each ratio one after the other, in turns, and the median of the rounds' ratios counts: the machine may be
 * slow or fast, but not in one round.
 *
 * In shared memory the blocking clients take turns at one server. The asynchronous ones have one each, since the published one never lets go of its
 * server. The published client of sockets starts its own. There is no published blocking client of sockets.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { findBbBinary, findNapiBinary } from '@aztec/bb.js/platform';
import { msgpack } from '@spanwire/ipc-rx';
import { createShmClient, createShmSyncClient } from '@spanwire/ipc-shm-native';
import { createSocketClient } from '@spanwire/ipc-socket';

const ROUNDS = Number(process.argv[2] ?? 31);
const DEPTH = 256;
const CALLS = 2000;
const ROUND_TRIPS = { ours: 2000, published: 500, socket: 500 };
const PIPELINED = 20_000;

const program = findBbBinary();
const addon = findNapiBinary();
if (program === null || addon === null) {
  process.stderr.write(`@aztec/bb.js ships nothing for ${process.platform} ${process.arch}\n`);
  process.exit(1);
}
const published = createRequire(import.meta.url)(addon);
const message = Buffer.from(msgpack.encode([['Blake2s', { data: new Uint8Array(64) }]]));
const layout = 'barretenberg';

/** @param {string} bb @param {string} input the name of a memory with ".shm", or the path of a socket with ".sock" */
async function startServer(bb, input) {
  const server = spawn(bb, ['msgpack', 'run', '--input', input], {
    env: { ...process.env, HARDWARE_CONCURRENCY: '1' },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  for await (const line of createInterface({ input: server.stderr })) if (line === 'IPC server ready') break;
  server.stderr.resume();
  return server;
}

/** Nanoseconds per piece of what `run` does `count` times. @param {number} count @param {() => void | Promise<void>} run */
async function timed(count, run) {
  const begin = performance.now();
  await run();
  return ((performance.now() - begin) * 1e6) / count;
}

/** @param {(message: Buffer) => Uint8Array} call */
function blocking(call) {
  for (let i = 0; i < 200; i++) call(message);
  return timed(CALLS, () => {
    for (let i = 0; i < CALLS; i++) call(message);
  });
}

/** @typedef {(message: Buffer) => Promise<Uint8Array>} Request */

/** @param {Request} request @param {number} count */
function oneByOne(request, count) {
  return timed(count, async () => {
    for (let i = 0; i < count; i++) await request(message);
  });
}

/** @param {Request} request */
function pipelined(request) {
  let left = PIPELINED;
  const worker = async () => {
    while (left-- > 0) await request(message);
  };
  return timed(PIPELINED, async () => {
    await Promise.all(Array.from({ length: DEPTH }, worker));
  });
}

/** The published asynchronous client, with promises as its own package makes them. @param {string} name @returns {Request} */
function publishedRequests(name) {
  const client = new published.MsgpackClientAsync(name);
  /** @type {Array<(answer: Uint8Array) => void>} */
  let waiting = [];
  let first = 0;
  client.setResponseCallback((/** @type {Uint8Array} */ answer) => {
    waiting[first++]?.(answer);
    if (first === waiting.length) {
      waiting = [];
      first = 0;
    }
  });
  client.acquire();
  return (data) =>
    new Promise((resolve) => {
      waiting.push(resolve);
      client.call(data);
    });
}

/** The published client of sockets, and a server that it starts. It is not exported, but has no other name. @param {string} bb */
async function publishedSocketClient(bb) {
  const file = new URL('native_socket.js', import.meta.resolve('@aztec/bb.js/platform'));
  const { BarretenbergNativeSocketAsyncBackend } = await import(file.href);
  return new BarretenbergNativeSocketAsyncBackend(bb, 1);
}

/** @param {number[]} values @param {number} share */
function quantile(values, share) {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}

/** @param {string} title @param {() => Promise<number>} ours @param {() => Promise<number>} theirs @param {number} [target] */
async function compare(title, ours, theirs, target) {
  /** @type {number[]} */
  const own = [];
  /** @type {number[]} */
  const other = [];
  for (let round = 0; round < ROUNDS; round++) {
    if (round % 2 === 0) own.push(await ours());
    other.push(await theirs());
    if (round % 2 === 1) own.push(await ours());
  }
  const ratios = own.map((ns, i) => (other[i] ?? Number.NaN) / ns);
  return {
    '': title,
    'ours, ns': Math.round(quantile(own, 0.5)),
    'published, ns': Math.round(quantile(other, 0.5)),
    'times as fast': Number(quantile(ratios, 0.5).toFixed(2)),
    'target, at least': target ?? '',
    'best / best': Number((quantile(other, 0) / quantile(own, 0)).toFixed(2)),
  };
}

const names = ['blocking', 'ours', 'published'].map((name) => `spanwire-bench-${process.pid}-${name}`);
const [shared = '', ours = '', theirs = ''] = names;
const path = join(tmpdir(), `spanwire-bench-${process.pid}.sock`);
const inputs = [...names.map((name) => `${name}.shm`), path];
const servers = await Promise.all(inputs.map((input) => startServer(program, input)));
const client = createShmClient(ours, { layout });
await client.connect();
/** @type {Request} */
const request = (data) => client.request(data);
const publishedRequest = publishedRequests(theirs);
const socketClient = createSocketClient(path, { framing: 'plain' });
await socketClient.connect();
/** @type {Request} */
const socketRequest = (data) => socketClient.request(data);
const publishedSocket = await publishedSocketClient(program);
/** @type {Request} */
const publishedSocketRequest = (data) => publishedSocket.call(data);
for (const warm of [request, publishedRequest, socketRequest, publishedSocketRequest]) await pipelined(warm);

const rows = [
  await compare(
    'shared memory: blocking round trip',
    async () => {
      const own = createShmSyncClient(shared, { layout });
      const ns = await blocking((data) => own.call(data));
      own.close();
      return ns;
    },
    async () => {
      const other = new published.MsgpackClient(shared);
      const ns = await blocking((data) => other.call(data));
      other.close();
      return ns;
    },
    0.95,
  ),
  await compare(
    'shared memory: round trip on the event loop',
    () => oneByOne(request, ROUND_TRIPS.ours),
    () => oneByOne(publishedRequest, ROUND_TRIPS.published),
    5,
  ),
  await compare(
    `shared memory: ${DEPTH} at a time on the event loop`,
    () => pipelined(request),
    () => pipelined(publishedRequest),
    1.5,
  ),
  await compare(
    'sockets: round trip on the event loop',
    () => oneByOne(socketRequest, ROUND_TRIPS.socket),
    () => oneByOne(publishedSocketRequest, ROUND_TRIPS.socket),
  ),
  await compare(
    `sockets: ${DEPTH} at a time on the event loop`,
    () => pipelined(socketRequest),
    () => pipelined(publishedSocketRequest),
  ),
];
console.table(rows);
await Promise.all([client.close(), socketClient.close(), publishedSocket.destroy()]);
for (const server of servers) {
  const ended = once(server, 'exit');
  server.kill('SIGTERM');
  await ended;
}
// The published client has a thread that would keep the process.
process.exit(0);
