// What a change must pass besides the tests. `npm run check -- lint types` runs only those steps.
import { runShell } from './run.mjs';

/** @type {Record<string, string>} */
const steps = {
  build: 'turbo run build --output-logs=errors-only',
  lint: 'oxlint',
  format: 'oxfmt --check',
  types: 'node scripts/check-types.mjs',
  boundaries: 'node scripts/check-boundaries.mjs',
  unused: 'knip',
  packages: 'node scripts/check-packages.mjs',
};

const chosen = process.argv.length > 2 ? process.argv.slice(2) : Object.keys(steps);
const unknown = chosen.filter((name) => !Object.hasOwn(steps, name));
if (unknown.length > 0) {
  console.error(`Expected steps out of ${Object.keys(steps).join(', ')}, got ${unknown.join(', ')}`);
  process.exit(2);
}

// All of them run, so that one run shows everything there is to repair.
const failed = chosen.filter((name) => {
  console.log(`\n== ${name}: ${steps[name]}`);
  return runShell(steps[name] ?? '') !== 0;
});

console.log(`\ncheck: ${chosen.length - failed.length} passed, ${failed.length} failed`);
if (failed.length > 0) console.log(`failed: ${failed.join(', ')}`);
process.exitCode = failed.length > 0 ? 1 : 0;
