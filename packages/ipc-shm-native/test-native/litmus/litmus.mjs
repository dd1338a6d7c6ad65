// The litmus test of the wake-up handshake: JavaScript publishes and asks whether the peer sleeps, C++ announces sleep and
// looks again, at the same moment, millions of times, each with the function that the transport uses. If both see the old value, a wake-up is lost. The real code must
// never lose one; with either side weakened the test must find a loss, or it would prove nothing.
//
// A round needs both threads to run at once. On a machine that is busy with other things that is rare, so there is a limit of time, too: the
// real code must have survived more rounds than it took to see the weakened ones lose, else this machine says nothing, and the test is skipped.
//
//   litmus.mjs [--rounds N]   rounds of the real code (default 3,000,000); needs c++, two CPUs and Node's headers
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { availableParallelism, tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { publish } from '../../dist/handshake.js';

const ROUNDS_PER_BATCH = 512;
const WORDS_PER_LINE = 32;
const NEVER = 200_000_000; // a weakened handshake that survives this many rounds is not caught
const PATIENCE_MS = 120_000; // for each version
const SKIPPED = 77;

const { rounds } = parseArgs({ options: { rounds: { type: 'string', default: '3000000' } } }).values;
const headers = join(dirname(dirname(process.execPath)), 'include', 'node');
const say = (/** @type {string} */ text) => process.stdout.write(`${text}\n`);

/**
 * @typedef {object} Native
 * @property {() => ArrayBuffer} buffer
 * @property {(weak: boolean) => void} start
 * @property {() => Uint8Array} finish
 */

/** @param {Int32Array} words @param {Uint8Array} saw */
function publishBatch(words, saw) {
  const mine = 2 * ROUNDS_PER_BATCH * WORDS_PER_LINE;
  const other = mine + WORDS_PER_LINE;
  for (let round = 0; round < ROUNDS_PER_BATCH; round++) {
    const head = 2 * round * WORDS_PER_LINE;
    Atomics.store(words, mine, round + 1);
    while (Atomics.load(words, other) < round + 1);
    saw[round] = publish(words, head, 1, head + WORDS_PER_LINE) ? 1 : 0;
  }
}

/** The same with a plain store. @param {Int32Array} words @param {Uint8Array} saw */
function publishBatchWeakly(words, saw) {
  const mine = 2 * ROUNDS_PER_BATCH * WORDS_PER_LINE;
  const other = mine + WORDS_PER_LINE;
  for (let round = 0; round < ROUNDS_PER_BATCH; round++) {
    const head = 2 * round * WORDS_PER_LINE;
    Atomics.store(words, mine, round + 1);
    while (Atomics.load(words, other) < round + 1);
    words[head] = 1;
    saw[round] = Atomics.load(words, head + WORDS_PER_LINE);
  }
}

/**
 * How many wake-ups were lost in how many rounds; stops at the first loss, and when it has taken too long.
 *
 * @param {Native} native
 * @param {Int32Array} words
 * @param {{ publish: typeof publishBatch, weakSleeper: boolean, most: number }} version
 */
function run(native, words, { publish, weakSleeper, most }) {
  const saw = new Uint8Array(ROUNDS_PER_BATCH);
  let done = 0;
  let lost = 0;
  const endMs = performance.now() + PATIENCE_MS;
  while (done < most && lost === 0 && performance.now() < endMs) {
    native.start(weakSleeper);
    publish(words, saw);
    const sawHead = native.finish();
    for (let round = 0; round < ROUNDS_PER_BATCH; round++) {
      if (saw[round] === 0 && sawHead[round] === 0) lost += 1;
    }
    done += ROUNDS_PER_BATCH;
  }
  return { done, lost };
}

function litmus() {
  const folder = mkdtempSync(join(tmpdir(), 'spanwire-litmus-'));
  try {
    const product = join(folder, 'litmus.node');
    const source = fileURLToPath(new URL('litmus.cpp', import.meta.url));
    execFileSync('c++', ['-std=c++20', '-O2', '-fPIC', '-shared', '-pthread', `-I${headers}`, '-o', product, source], {
      stdio: 'inherit',
    });
    const native = /** @type {Native} */ (createRequire(import.meta.url)(product));
    const words = new Int32Array(native.buffer());
    const real = run(native, words, { publish: publishBatch, weakSleeper: false, most: Number(rounds) });
    const plainStore = run(native, words, { publish: publishBatchWeakly, weakSleeper: false, most: NEVER });
    const releaseStore = run(native, words, { publish: publishBatch, weakSleeper: true, most: NEVER });
    const lines = [
      [real.lost === 0, `the handshake as it is: ${real.lost} wake-ups lost in ${real.done} rounds`],
      [plainStore.lost > 0, `with a plain store in JavaScript: lost after ${plainStore.done} rounds`],
      [releaseStore.lost > 0, `with a release store in C++: lost after ${releaseStore.done} rounds`],
    ];
    const tooBusy = [plainStore, releaseStore].some(({ done, lost }) => (lost === 0 ? done < NEVER : done > real.done));
    if (real.lost === 0 && tooBusy) {
      const counts = [real, plainStore, releaseStore].map(({ done }) => done).join(', ');
      say(`skipped: the threads hardly ever ran at once here, in ${counts} rounds`);
      return SKIPPED;
    }
    for (const [asExpected, line] of lines) say(`${asExpected ? 'ok' : 'NOT AS EXPECTED'} - ${line}`);
    return lines.every(([asExpected]) => asExpected) ? 0 : 1;
  } finally {
    rmSync(folder, { recursive: true });
  }
}

if (process.arch !== 'x64') {
  say('skipped: only x86-64 reorders in the way this test expects');
  process.exitCode = SKIPPED;
} else if (availableParallelism() < 2 || !existsSync(join(headers, 'node_api.h'))) {
  say(`skipped: needs two CPUs and ${headers}/node_api.h`);
  process.exitCode = SKIPPED;
} else {
  process.exitCode = litmus();
}
