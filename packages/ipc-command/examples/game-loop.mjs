// A game at 60 Hz whose loop lets commands in once a frame, and no longer than its budget. It measures its own frames, first alone,
// then while another process sends commands as fast as they are answered:
//
//   node game-loop.mjs [--address unix:/path] [--frames 600] [--budget 3] [--json]
//
// Over sockets the loop gives Node's event loop the time between two frames, because the event loop reads the sockets. Over shared
// memory (shm:name) it is synchronous from the first frame to the last.
import { fork } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { createCommandServer } from '@spanwire/ipc-command';
import { Subject } from 'rxjs';
import { commands } from './game-loop-commands.mjs';

const FRAME_MS = 1000 / 60;
const BODIES = 2000;

const { values } = parseArgs({
  options: {
    address: { type: 'string' },
    frames: { type: 'string', default: '600' },
    budget: { type: 'string', default: '3' },
    json: { type: 'boolean', default: false },
  },
});
const folder = mkdtempSync(join(tmpdir(), 'spanwire-game-'));
const address = values.address ?? `unix:${join(folder, 'game.sock')}`;
const frames = Number(values.frames);
const budgetMs = Number(values.budget);
const synchronous = address.startsWith('shm:');

/** @typedef {{ x: Float64Array, y: Float64Array, speed: Float64Array }} World */
/** @type {World} */
const world = {
  x: new Float64Array(BODIES),
  y: new Float64Array(BODIES),
  speed: Float64Array.from({ length: BODIES }, (_, body) => 1 + (body % 7)),
};
/** @type {Subject<{ frame: number, ms: number }>} */
const frames$ = new Subject();

const server = await createCommandServer(
  commands,
  {
    move: ({ body, by }, /** @type {World} */ { x, y }) => {
      const at = { x: (x[body] ?? 0) + by.x, y: (y[body] ?? 0) + by.y };
      x[body] = at.x;
      y[body] = at.y;
      return at;
    },
    frames: () => frames$,
  },
  { address },
);

const alone = await play();
const visitors = fork(fileURLToPath(new URL('game-loop-visitors.mjs', import.meta.url)), [address]);
await new Promise((resolve) => visitors.once('message', resolve));
// Their first command is there before the first frame is: starting a process is no part of the game.
while (server.pendingCount === 0) await new Promise((resolve) => setImmediate(resolve));
const visited = await play();
visitors.kill('SIGTERM');
await server.close();
rmSync(folder, { recursive: true, force: true });
report(alone, visited);

/** Plays some frames, and says how they went. */
async function play() {
  const durations = new Float64Array(frames);
  const delays = new Float64Array(frames);
  let handled = 0;
  const beganMs = performance.now();
  for (let frame = 0; frame < frames; frame++) {
    const dueMs = beganMs + frame * FRAME_MS;
    await waitUntil(dueMs);
    const startMs = performance.now();
    delays[frame] = startMs - dueMs;
    update(world);
    handled += server.handleNewMessagesSync(world, { budgetMs });
    const ms = performance.now() - startMs;
    durations[frame] = ms;
    frames$.next({ frame, ms });
  }
  return {
    handled,
    seconds: (performance.now() - beganMs) / 1000,
    frameMs: spread(durations),
    delayMs: spread(delays),
  };
}

/** About two milliseconds of pushing bodies apart, as a game has. */
function update(/** @type {World} */ { x, y, speed }) {
  for (let body = 0; body < BODIES; body++) {
    let [pushX, pushY] = [0, 0];
    for (let other = 0; other < BODIES; other += 8) {
      const [dx, dy] = [(x[body] ?? 0) - (x[other] ?? 0), (y[body] ?? 0) - (y[other] ?? 0)];
      const distance = 1 + dx * dx + dy * dy;
      pushX += dx / distance;
      pushY += dy / distance;
    }
    x[body] = (x[body] ?? 0) + pushX * (speed[body] ?? 0) * 1e-3;
    y[body] = (y[body] ?? 0) + pushY * (speed[body] ?? 0) * 1e-3;
  }
}

/** Sleeps until shortly before `dueMs`, and is awake for the rest. */
async function waitUntil(/** @type {number} */ dueMs) {
  if (synchronous) {
    const left = dueMs - performance.now() - 1;
    if (left > 0) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, left);
    while (performance.now() < dueMs);
    return;
  }
  const left = dueMs - performance.now() - 2;
  if (left > 0) await new Promise((resolve) => setTimeout(resolve, left));
  do await new Promise((resolve) => setImmediate(resolve));
  while (performance.now() < dueMs);
}

function spread(/** @type {Float64Array} */ samples) {
  const sorted = samples.toSorted();
  const at = (/** @type {number} */ part) => sorted[Math.min(sorted.length - 1, Math.floor(part * sorted.length))] ?? 0;
  return { p50: at(0.5), p99: at(0.99), max: at(1) };
}

/** @typedef {Awaited<ReturnType<typeof play>>} Played */
/**
 * @param {Played} alone
 * @param {Played} visited
 */
function report(alone, visited) {
  if (values.json) {
    process.stdout.write(`${JSON.stringify({ address, frames, budgetMs, alone, visited })}\n`);
    return;
  }
  const row = (/** @type {string} */ name, /** @type {(played: Played) => number} */ of, digits = 2) =>
    `${name.padEnd(28)}${of(alone).toFixed(digits).padStart(12)}${of(visited).toFixed(digits).padStart(12)}\n`;
  process.stdout.write(
    `${address}, ${frames} frames each, commands may take ${budgetMs} ms of a frame\n` +
      `${''.padEnd(28)}${'alone'.padStart(12)}${'visited'.padStart(12)}\n` +
      row('commands per second', ({ handled, seconds }) => handled / seconds, 0) +
      row('frame, ms: p50', ({ frameMs }) => frameMs.p50) +
      row('           p99', ({ frameMs }) => frameMs.p99) +
      row('           max', ({ frameMs }) => frameMs.max) +
      row('started late by, ms: p50', ({ delayMs }) => delayMs.p50) +
      row('                     p99', ({ delayMs }) => delayMs.p99) +
      row('                     max', ({ delayMs }) => delayMs.max),
  );
}
