import { spawnSync } from 'node:child_process';
import { environment, root } from './workspace.mjs';

/**
 * Runs a shell command with its output passed through and says how it ended: its exit code, or 1 when a
 * signal ended it.
 *
 * @param {string} command
 * @param {{ cwd?: string }} [options]
 * @returns {number}
 */
export function runShell(command, { cwd = root } = {}) {
  const { status, signal, error } = spawnSync(command, {
    cwd,
    env: environment,
    shell: true,
    stdio: ['ignore', 'inherit', 'inherit'],
  });
  if (error !== undefined) console.error(`${command}: ${error.message}`);
  if (signal !== null) console.error(`${command}: ended by ${signal}`);
  return status ?? 1;
}

/**
 * Runs a program and returns what it printed; its output is shown, and an error thrown, when it fails.
 *
 * @param {string} program
 * @param {string[]} parameters
 * @param {{ cwd?: string, env?: NodeJS.ProcessEnv }} [options]
 * @returns {string}
 */
export function capture(program, parameters, { cwd = root, env = environment } = {}) {
  const { status, signal, error, stdout, stderr } = spawnSync(program, parameters, {
    cwd,
    env,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
    maxBuffer: 256 * 1024 * 1024,
  });
  if (error !== undefined) throw error;
  if (status === 0) return stdout;
  process.stderr.write(stdout + stderr);
  throw new Error(`${program} ${parameters.join(' ')}: ${signal ?? `exit code ${status}`}`);
}
