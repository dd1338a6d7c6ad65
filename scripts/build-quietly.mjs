// Builds the named workspaces and what they need, and prints nothing unless that fails: for commands whose
// own output matters.
import { capture } from './run.mjs';

try {
  const filters = process.argv.slice(2).map((name) => `--filter=${name}`);
  capture('turbo', ['run', 'build', '--output-logs=errors-only', ...filters]);
} catch (error) {
  console.error(String(error));
  process.exitCode = 1;
}
