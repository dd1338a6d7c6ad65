// Checks the model of the wake-up handshake: the handshake as it is must have no error, and without any one of its
// fences spin must find one. Needs spin and cc. Prints one line per version; exits 1 if any line is not as expected.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const model = fileURLToPath(new URL('handshake.pml', import.meta.url));
const fences = {
  NO_PUBLISH_FENCE: 'between publishing the head and asking whether the reader sleeps',
  NO_DATA_SLEEP_FENCE: "between the reader's waiting flag and its second look at the head",
  NO_RELEASE_FENCE: 'between publishing the tail and asking whether the writer sleeps',
  NO_SPACE_SLEEP_FENCE: "between the writer's waiting flag and its second look at the tail",
};

/**
 * The report of the checker on one version of the model.
 *
 * @param {string[]} defines
 */
function explore(defines) {
  const folder = mkdtempSync(join(tmpdir(), 'spanwire-model-'));
  const run = (/** @type {string} */ program, /** @type {string[]} */ parameters) =>
    execFileSync(program, parameters, { cwd: folder, encoding: 'utf8' });
  try {
    run('spin', [...defines.map((define) => `-D${define}`), '-a', model]);
    run('cc', ['-O1', '-w', '-DSAFETY', '-o', 'pan', 'pan.c']);
    return run('./pan', ['-m1000000']);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/**
 * @param {string} report
 * @param {RegExp} pattern
 */
function number(report, pattern) {
  const found = pattern.exec(report);
  if (found === null) throw new Error(`Expected the report to match ${pattern}, got\n${report}`);
  return Number(found[1]);
}

let asExpected = true;
/**
 * @param {boolean} holds
 * @param {string} line
 */
function expect(holds, line) {
  asExpected &&= holds;
  process.stdout.write(`${holds ? 'ok' : 'NOT AS EXPECTED'} - ${line}\n`);
}

const whole = explore([]);
const states = number(whole, /(\d+) states, stored/);
expect(number(whole, /errors: (\d+)/) === 0, `all fences in place: no wake-up is lost in ${states} states`);
for (const side of ['producer', 'consumer']) {
  // A model whose sides never sleep would prove nothing.
  expect(
    new RegExp(`unreached in proctype ${side}\\s+\\(0 of`).test(whole),
    `every step of the ${side} happens, sleeping included`,
  );
}
for (const [define, place] of Object.entries(fences)) {
  const report = explore([define]);
  expect(
    number(report, /errors: (\d+)/) > 0 && report.includes('invalid end state'),
    `without the fence ${place}: both sides sleep for ever`,
  );
}
process.exitCode = asExpected ? 0 : 1;
