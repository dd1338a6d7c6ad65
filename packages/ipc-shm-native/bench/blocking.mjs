// @ts-check
/**
 * The blocking round trip of 64 bytes against the floor, on two CPUs: `node bench/blocking.mjs [rounds]`. Every round measures the floor (two
 * native processes on the same rings), the least program in JavaScript on them (bare-rings.mjs), and `call` with `runSync`, and the median of the
 * rounds' ratios counts: the machine may be slow or fast, but not in one round. Other load makes all of it meaningless. The bench in apps/bench has
 * the same figure, unpinned.
 */
import { execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { createShmSyncClient } from '@spanwire/ipc-shm-native';
import { connectBlocking } from './bare-rings.mjs';

const ROUNDS = Number(process.argv[2] ?? 11);
const SAMPLES = 20_000;
/** Reading the clock costs about a quarter of a round trip. */
const BATCH = 16;
const CPUS = ['0', '1'];

const native = fileURLToPath(new URL('../native/', import.meta.url));
const directory = mkdtempSync(join(tmpdir(), 'spanwire-bench-'));
const floor = join(directory, 'floor');
const platform = readdirSync(join(native, 'platform')).filter((name) => name.endsWith('_linux.cpp'));
const sources = ['floor/floor.cpp', ...platform.map((name) => `platform/${name}`)];
execFileSync('c++', ['-std=c++20', '-O2', '-o', floor, ...sources.map((name) => join(native, name))]);

/** @param {number[]} values */
function median(values) {
  return values.sort((a, b) => a - b)[values.length >> 1] ?? Number.NaN;
}

/** @returns {number} */
function floorNs() {
  const printed = execFileSync(floor, ['--only', 'ring', '--rounds', '200000', '--cpus', CPUS.join(',')]);
  return JSON.parse(printed.toString()).ringRoundTripNs.p50;
}

/**
 * Starts a server and waits until it listens.
 *
 * @param {string[]} args
 * @param {string} path
 */
async function start(args, path) {
  const program = fileURLToPath(new URL('blocking-server.mjs', import.meta.url));
  const server = spawn(process.execPath, [program, ...args], { stdio: 'inherit' });
  while (!existsSync(path)) await new Promise((resolve) => setTimeout(resolve, 5));
  return server;
}

const path = join(directory, 's');
const barePath = join(directory, 'b');
const servers = [await start([`shm:${path}`], path), await start(['--bare', barePath], barePath)];
const client = createShmSyncClient(`shm:${path}`);
const call = (/** @type {Uint8Array} */ bytes) => client.call(bytes);
const bare = connectBlocking(barePath);
const message = new Uint8Array(64).fill(0x5a);
for (const each of [call, bare]) for (let i = 0; i < 100_000; i++) each(message);
// Not before they are connected: with one CPU alone nobody spins.
for (const { pid } of servers) execFileSync('taskset', ['-cp', CPUS[0] ?? '0', `${pid}`]);
execFileSync('taskset', ['-cp', CPUS[1] ?? '0', `${process.pid}`]);

/** @param {(message: Uint8Array) => Uint8Array} trip */
function tripNs(trip) {
  const samples = [];
  for (let i = 0; i < SAMPLES; i++) {
    const begin = performance.now();
    for (let j = 0; j < BATCH; j++) trip(message);
    samples.push(((performance.now() - begin) * 1e6) / BATCH);
  }
  return median(samples);
}

const ratios = [];
const bareRatios = [];
for (let round = 0; round < ROUNDS; round++) {
  const below = floorNs();
  const least = tripNs(bare);
  const own = tripNs(call);
  ratios.push(own / below);
  bareRatios.push(least / below);
  const figures = [`floor ${below.toFixed(0)} ns`, `bare ${least.toFixed(0)} ns`, `call ${own.toFixed(0)} ns`];
  process.stdout.write(`${figures.join(', ')}, ratio ${(own / below).toFixed(2)}\n`);
}
process.stdout.write(`median ratio ${median(ratios).toFixed(2)}, of bare rings ${median(bareRatios).toFixed(2)}\n`);
client.close();
for (const server of servers) server.kill();
rmSync(directory, { recursive: true });
process.exit();
