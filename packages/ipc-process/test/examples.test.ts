import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { onLinux } from './support.ts';

test('the example spawns two workers that share an object, call back, and are restarted', async () => {
  const controller = fileURLToPath(new URL('../examples/controller.mjs', import.meta.url));
  const { stdout, stderr } = await promisify(execFile)(process.execPath, [controller]);
  expect(stderr).toBe('');
  expect(stdout.split('\n')).toEqual([
    `a worker is called over ${onLinux ? 'shm' : 'unix'}`,
    'a worker is called over unix',
    'primes below 1000: 168, from there to 2000: 135',
    'called back: 1, 2, 3',
    'heartbeats: 0,1,2',
    'in flight: Call interrupted by disconnect',
    'after the restart: 127 primes',
    'both workers have ended',
    '',
  ]);
});
