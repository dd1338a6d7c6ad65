import { capture } from './run.mjs';

/**
 * Builds the named workspaces (none: all) and what they need, and prints nothing unless that fails: for
 * commands whose own output matters.
 *
 * @param {string[]} [names]
 * @returns {boolean} Whether it went well.
 */
export function buildQuietly(names = []) {
  try {
    capture('turbo', ['run', 'build', '--output-logs=errors-only', ...names.map((name) => `--filter=${name}`)]);
    return true;
  } catch (error) {
    console.error(String(error));
    return false;
  }
}
