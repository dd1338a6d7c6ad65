// @ts-check
/**
 * Sockets against a bare `node:net` echo, 64-byte messages, in one run: `node bench/echo.mjs [rounds] [--unpinned]`. Every round measures both
 * sides of each ratio one after the other, and the median of the rounds' ratios counts: the machine may be slow or fast, but not in one round.
 *
 * Where `taskset` exists, client and servers stay on two processors. Else the kernel puts them on one or on two as it likes, which changes a
 * round trip by a factor of three and what can be done at the same time by two.
 */
import { fork, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { createSocketClient } from '@spanwire/ipc-socket';

const { positionals, values } = parseArgs({ allowPositionals: true, options: { unpinned: { type: 'boolean' } } });
const ROUNDS = Number(positionals[0] ?? 30);
const DEPTH = 256;
const BYTES = 64;
const ROUND_TRIPS = 1_000;
const BATCHES = 200;
const PIPELINED = 50_000;

const directory = mkdtempSync(join(tmpdir(), 'spanwire-bench-'));
const server = fileURLToPath(new URL('echo-server.mjs', import.meta.url));
const message = new Uint8Array(BYTES).fill(1);

/** @param {number | undefined} pid @param {number} processor */
function pin(pid, processor) {
  if (values.unpinned === true || pid === undefined) return;
  // The main thread only: the garbage collector's helpers may go where there is room.
  const { status } = spawnSync('taskset', ['-cp', String(processor), String(pid)], { stdio: 'ignore' });
  pinned &&= status === 0;
}

/** @param {'bare' | 'spanwire'} kind */
async function startServer(kind) {
  const path = join(directory, kind);
  const child = fork(server, [kind, path]);
  pin(child.pid, 1);
  await once(child, 'message');
  return { path, child };
}

/** Writes, and resolves when as many bytes came back. */
/** @param {string} path */
async function bareClient(path) {
  const socket = connect(path);
  await once(socket, 'connect');
  let missing = 0;
  let done = () => {};
  socket.on('data', (chunk) => {
    missing -= chunk.length;
    if (missing === 0) done();
  });
  return {
    close: () => socket.destroy(),
    /** @param {Uint8Array} bytes @returns {Promise<void>} */
    echo(bytes) {
      missing = bytes.length;
      return new Promise((resolve) => {
        done = resolve;
        socket.write(bytes);
      });
    },
  };
}

/** Nanoseconds per call of `run`. @param {number} times @param {() => unknown} run */
async function nanosecondsPer(times, run) {
  const start = performance.now();
  for (let i = 0; i < times; i++) await run();
  return ((performance.now() - start) * 1e6) / times;
}

/** Nanoseconds per request with always {@link DEPTH} of them under way. @param {(settle: () => void) => void} send */
async function pipelined(send) {
  const start = performance.now();
  await new Promise((resolve) => {
    let unsent = PIPELINED - DEPTH;
    let missing = PIPELINED;
    const settle = () => {
      if (unsent-- > 0) send(settle);
      if (--missing === 0) resolve(undefined);
    };
    for (let i = 0; i < DEPTH; i++) send(settle);
  });
  return ((performance.now() - start) * 1e6) / PIPELINED;
}

/** @param {string} line */
function say(line) {
  process.stdout.write(`${line}\n`);
}

/** @param {number[]} numbers */
function median(numbers) {
  return numbers.toSorted((a, b) => a - b)[numbers.length >> 1] ?? Number.NaN;
}

let pinned = values.unpinned !== true;
pin(process.pid, 0);
const bareServer = await startServer('bare');
const ourServer = await startServer('spanwire');
const bare = await bareClient(bareServer.path);
const client = createSocketClient(ourServer.path);
await client.connect();

const batch = new Uint8Array(DEPTH * BYTES).fill(1);
const measures = {
  'bare round trip': () => nanosecondsPer(ROUND_TRIPS, () => bare.echo(message)),
  'round trip': () => nanosecondsPer(ROUND_TRIPS, () => client.request(message)),
  'bare batched': async () => (await nanosecondsPer(BATCHES, () => bare.echo(batch))) / DEPTH,
  'pipelined, promises': () => pipelined((settle) => void client.request(message).then(settle)),
  'pipelined, observables': () => pipelined((settle) => void client.request$(message).subscribe({ complete: settle })),
};

/** @type {Record<string, number[]>} */
const results = Object.fromEntries(Object.keys(measures).map((name) => [name, []]));
for (let round = -3; round < ROUNDS; round++) {
  for (const [name, measure] of Object.entries(measures)) {
    const result = await measure();
    // The first rounds warm up.
    if (round >= 0) results[name]?.push(result);
  }
}

/** The median over rounds of one measure's rate against another's. @param {string} name @param {string} peer */
function ratio(name, peer) {
  return median((results[name] ?? []).map((value, round) => (results[peer]?.[round] ?? Number.NaN) / value));
}

say(`client and servers on ${pinned ? 'two processors' : 'whatever processors the kernel chose'}`);
for (const [name, times] of Object.entries(results)) {
  const [middle, best] = [median(times), Math.min(...times)].map((value) => (value / 1000).toFixed(3).padStart(8));
  say(`${name.padEnd(24)} ${middle} us, best round ${best} us`);
}
say(`round trip / bare round trip: ${(1 / ratio('round trip', 'bare round trip')).toFixed(2)} (target: at most 1.1)`);
say(
  `rate of pipelined, promises / bare batched: ${ratio('pipelined, promises', 'bare batched').toFixed(2)} (target: at least 0.4)`,
);
// Each is a stream: two frames come back for one.
say(`rate of pipelined, observables / bare batched: ${ratio('pipelined, observables', 'bare batched').toFixed(2)}`);

await client.close();
bare.close();
for (const { child } of [bareServer, ourServer]) child.disconnect();
rmSync(directory, { recursive: true, force: true });
