/**
 * Round trips and calls per second of remote objects, against capnweb over a bare MessagePort and comlink, both between threads, and against
 * a bare socket pair between processes. Everybody takes a turn in every round; ratios are medians of the rounds.
 *
 *     node packages/ipc-process/bench/compare.mjs [--rounds 9] [--ms 250] [--json]
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { MessageChannel, Worker } from 'node:worker_threads';
import { createIpc } from '@spanwire/ipc-process';
import { newMessagePortRpcSession } from 'capnweb';
import * as comlink from 'comlink';
import nodeEndpoint from 'comlink/dist/esm/node-adapter.mjs';

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '9' },
    ms: { type: 'string', default: '250' },
    json: { type: 'boolean', default: false },
  },
});
const rounds = Number(values.rounds);
const millisecondsPerTurn = Number(values.ms);
const DEPTH = 64;
const KIBIBYTE = new Uint8Array(1024);
const served = new URL('served.mjs', import.meta.url);

/**
 * @typedef {object} Remote
 * @property {(a: number, b: number) => PromiseLike<number>} add
 * @property {(bytes: Uint8Array) => PromiseLike<Uint8Array>} echo
 *
 * @typedef {{ name: string, remote: Remote, close: () => unknown }} Contestant
 */

/**
 * @param {string} name
 * @param {string} transport
 * @returns {Promise<Contestant | undefined>}
 */
async function spanwire(name, transport) {
  const ipc = createIpc();
  try {
    const remote = await ipc.spawnProcess(served, { transport });
    return { name, remote: /** @type {any} */ (remote), close: () => ipc[Symbol.asyncDispose]() };
  } catch (error) {
    if (/** @type {{ code?: unknown }} */ (error).code !== 'ERR_IPC_NATIVE_UNAVAILABLE') throw error;
    process.stderr.write(`${name}: left out, not installed\n`);
    return undefined;
  }
}

/**
 * @param {string} name
 * @param {'capnweb' | 'comlink'} kind
 * @returns {Promise<Contestant>}
 */
async function betweenThreads(name, kind) {
  const { port1, port2 } = new MessageChannel();
  const worker = new Worker(served, { workerData: { kind, port: port2 }, transferList: [port2] });
  await once(worker, 'online');
  const remote =
    kind === 'capnweb' ? newMessagePortRpcSession(/** @type {any} */ (port1)) : comlink.wrap(nodeEndpoint(port1));
  return { name, remote: /** @type {any} */ (remote), close: () => worker.terminate() };
}

/** What the system takes for 64 bytes to another process and back: no messages, no objects. Answers come in order. */
async function bareSocketPair() {
  const child = spawn(process.execPath, [fileURLToPath(served)], {
    stdio: ['ignore', 'inherit', 'inherit', 'pipe'],
    env: { ...process.env, BARE: '1' },
  });
  const socket = child.stdio[3];
  /** @type {Array<{ bytes: number, resolve: (value: any) => void }>} */
  const waiting = [];
  let received = 0;
  socket.on('data', (chunk) => {
    received += chunk.length;
    for (let first = waiting[0]; first !== undefined && received >= first.bytes; first = waiting[0]) {
      received -= first.bytes;
      waiting.shift();
      first.resolve(undefined);
    }
  });
  const send = (/** @type {Uint8Array} */ bytes) =>
    new Promise((resolve) => {
      waiting.push({ bytes: bytes.length, resolve });
      socket.write(bytes);
    });
  const small = new Uint8Array(64);
  const remote = /** @type {any} */ ({ add: () => send(small), echo: send });
  return { name: 'bare socket pair, between processes', remote, close: () => socket.end() };
}

/** @type {Record<string, (remote: Remote) => Promise<number>>} calls per second */
const tests = {
  'round trip': (remote) => perSecond(1, () => remote.add(1, 2)),
  [`${DEPTH} calls at a time`]: (remote) => perSecond(DEPTH, () => remote.add(1, 2)),
  '1 KiB there and back': (remote) => perSecond(1, () => remote.echo(KIBIBYTE)),
};

/**
 * @param {number} depth
 * @param {() => PromiseLike<unknown>} call
 */
async function perSecond(depth, call) {
  let calls = 0;
  const start = performance.now();
  const end = start + millisecondsPerTurn;
  await Promise.all(
    Array.from({ length: depth }, async () => {
      do {
        await call();
        calls++;
      } while (performance.now() < end);
    }),
  );
  return (calls / (performance.now() - start)) * 1000;
}

/** @param {number[]} numbers */
function median(numbers) {
  return [...numbers].sort((a, b) => a - b)[Math.floor(numbers.length / 2)] ?? Number.NaN;
}

const contestants = [
  await spanwire('ipc-process, inherited pipe', 'pipe'),
  await spanwire('ipc-process, Unix socket', 'unix'),
  await spanwire('ipc-process, shared memory', 'shm'),
  await betweenThreads('capnweb on a bare MessagePort, between threads', 'capnweb'),
  await betweenThreads('comlink, between threads', 'comlink'),
  await bareSocketPair(),
].filter((contestant) => contestant !== undefined);

/** @type {Map<string, number[]>} */
const results = new Map();
for (let round = -1; round < rounds; round++) {
  for (const [test, run] of Object.entries(tests)) {
    for (const { name, remote } of contestants) {
      const result = await run(remote);
      // The first round only warms up.
      if (round >= 0) results.set(`${test}/${name}`, [...(results.get(`${test}/${name}`) ?? []), result]);
    }
  }
}

const report = Object.keys(tests).map((test) => ({
  test,
  results: contestants.map(({ name }) => {
    const own = results.get(`${test}/${name}`) ?? [];
    const against = (/** @type {string} */ other) => {
      const others = results.get(`${test}/${other}`) ?? [];
      return median(own.map((value, i) => value / (others[i] ?? Number.NaN)));
    };
    return {
      name,
      callsPerSecond: Math.round(median(own)),
      microseconds: Number((1e6 / median(own)).toFixed(1)),
      againstCapnweb: Number(against('capnweb on a bare MessagePort, between threads').toFixed(2)),
      againstComlink: Number(against('comlink, between threads').toFixed(2)),
    };
  }),
}));

if (values.json) process.stdout.write(`${JSON.stringify(report, undefined, 2)}\n`);
else {
  for (const { test, results: lines } of report) {
    process.stdout.write(
      `\n${test}\n${'calls/s'.padStart(60)}${'us/call'.padStart(10)}${'/ capnweb'.padStart(11)}${'/ comlink'.padStart(11)}\n`,
    );
    for (const line of lines) {
      const numbers = `${String(line.callsPerSecond).padStart(10)}${String(line.microseconds).padStart(10)}${String(line.againstCapnweb).padStart(11)}${String(line.againstComlink).padStart(11)}`;
      process.stdout.write(`${line.name.padEnd(50)}${numbers}\n`);
    }
  }
}
for (const { close } of contestants) await close();
