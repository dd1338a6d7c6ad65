// Runs every step of every verify.json: what needs more tools than Node, npm and g++. A step without its tools is
// skipped, with the reason printed and counted, and never a failure.
//   --short    the short forms, as the continuous integration does
//   --debian   prints the Debian packages that the steps need, and runs nothing
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { runShell } from './run.mjs';
import { findSteps, reasonToSkip } from './verify-steps.mjs';
import { root } from './workspace.mjs';

/** The exit code by which a step says, with a line of its own, that it cannot run here; as in automake. */
const SKIPPED = 77;

const { short, debian } = parseArgs({
  options: { short: { type: 'boolean', default: false }, debian: { type: 'boolean', default: false } },
}).values;
const steps = findSteps();

if (debian) {
  console.log([...new Set(steps.flatMap((step) => step.debian ?? []))].sort().join('\n'));
} else {
  const counts = { passed: 0, failed: 0, skipped: 0 };
  for (const step of steps) {
    const title = `${step.folder}: ${step.name}`;
    const reason = reasonToSkip(step, { short });
    if (reason !== undefined) {
      counts.skipped += 1;
      console.log(`- skipped  ${title} (${reason})`);
      continue;
    }
    console.log(`  running  ${title}`);
    const command = (short && step.shortCommand) || step.command;
    const status = runShell(command, { cwd: join(root, step.folder) });
    const outcome = status === 0 ? 'passed' : status === SKIPPED ? 'skipped' : 'failed';
    counts[outcome] += 1;
    console.log(
      outcome === 'failed'
        ? `x failed   ${title} (exit code ${status}: ${command})`
        : `- ${outcome.padEnd(8)} ${title}`,
    );
  }
  console.log(`verify: ${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped`);
  process.exitCode = counts.failed > 0 ? 1 : 0;
}
