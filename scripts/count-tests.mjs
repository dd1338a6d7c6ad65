// Prints `N passed, N failed` from vitest's JSON report, whose path is the only argument.
import { existsSync } from 'node:fs';
import { readJson } from './workspace.mjs';

/**
 * @typedef {object} Report What is read of the report.
 * @property {number} numPassedTests
 * @property {number} numFailedTests
 * @property {number} numPendingTests
 * @property {number} numTodoTests
 * @property {{ status: string, assertionResults: unknown[] }[]} testResults
 */

const path = process.argv[2];
if (path === undefined) throw new TypeError('Expected the path of a report');

if (existsSync(path)) {
  /** @type {Report} */
  const report = readJson(path);
  // A file that does not even load has no tests to count: it counts as one that failed.
  const broken = report.testResults.filter(
    ({ status, assertionResults }) => status === 'failed' && assertionResults.length === 0,
  ).length;
  const skipped = report.numPendingTests + report.numTodoTests;
  const counts = [`${report.numPassedTests} passed`, `${report.numFailedTests + broken} failed`];
  console.log([...counts, ...(skipped > 0 ? [`${skipped} skipped`] : [])].join(', '));
} else {
  console.error('there is no report: the tests did not come to their end');
  console.log('0 passed, 1 failed');
}
