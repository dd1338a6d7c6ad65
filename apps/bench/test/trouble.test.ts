import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, onTestFinished, test } from 'vitest';
import type { BenchResult } from '../src/result.ts';
import { benchOffLinux, benchWithout, startBench, TINY } from './run-bench.ts';

test('a transport that cannot be measured is a failure, and the others are measured all the same', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'spanwire-bench-test-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  const json = join(folder, 'result.json');
  const { status, stdout, stderr } = await benchWithout('@spanwire/ipc-socket', [
    ...TINY,
    '--scenario',
    'cancel',
    '--json',
    json,
  ]);
  expect(status).toBe(1);
  expect(stdout).toContain('FAILED cancel: unix');
  expect(stderr).toMatch(/cancel: tcp: .*a-package-that-is-not-installed/);
  const { records, failed, skipped } = JSON.parse(readFileSync(json, 'utf8')) as BenchResult;
  expect(records.map(({ transport }) => transport)).toEqual(['shm', 'memory']);
  expect(failed).toEqual([
    { scenario: 'cancel', transport: 'unix', peer: null },
    { scenario: 'cancel', transport: 'tcp', peer: null },
  ]);
  expect(skipped).toEqual([]);
});

test('off Linux shared memory is skipped with its reason, which is no failure', async () => {
  const { status, stdout } = await benchOffLinux([...TINY, '--scenario', 'cancel']);
  expect(stdout).toContain('skipped shm: shared memory is for Linux only');
  expect(stdout).toMatch(/Spanwire unix .*[µm]s/);
  expect(stdout).not.toMatch(/Spanwire shm|FAILED/);
  expect(status).toBe(0);
});

test.runIf(process.platform === 'linux')('when it is killed in the middle, none of its processes is left', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'spanwire-bench-test-'));
  const child = startBench(['--rounds', '1000', '--round-ms', '50', '--scenario', 'request-64'], { TMPDIR: folder });
  onTestFinished(() => {
    child.kill('SIGKILL');
    rmSync(folder, { recursive: true, force: true });
  });
  const exited = once(child, 'exit');
  // Itself, clients of their own, and the servers that some of them start.
  while (processesWith(`TMPDIR=${folder}`).length < 9) {
    if (child.exitCode !== null) throw new Error(`It ended: ${String(child.stderr?.read())}`);
    await sleep(10);
  }
  child.kill('SIGKILL');
  await exited;
  // Also of those that were about to start.
  while (processesWith(`TMPDIR=${folder}`).length > 0) await sleep(10);
});

test('a signal ends it, with its files removed and the exit code that a shell would give', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'spanwire-bench-test-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  const child = startBench(['--rounds', '1000', '--round-ms', '50', '--scenario', 'cancel'], { TMPDIR: folder });
  onTestFinished(() => void child.kill('SIGKILL'));
  const exited = once(child, 'exit');
  while (!readdirSync(folder).some((name) => name.startsWith('spanwire-bench-'))) await sleep(10);
  child.kill('SIGTERM');
  expect(await exited).toEqual([128 + 15, null]);
  expect(readdirSync(folder)).toEqual([]);
});

/** Those that have `variable` in their environment, which they hand on to what they start. What has ended has none. */
function processesWith(variable: string): string[] {
  return readdirSync('/proc').filter((pid) => {
    try {
      return /^\d+$/.test(pid) && readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0').includes(variable);
    } catch {
      // Of another user, or it ended meanwhile.
      return false;
    }
  });
}
