import { expect, test } from 'vitest';
import { stateOf } from '../src/floor.ts';
import { cpuList, cpuOf, cpuUseOf } from '../src/placement.ts';

test('ranges of CPUs are read as the kernel writes them', () => {
  expect(cpuList('0-3,8')).toEqual([0, 1, 2, 3, 8]);
  expect(cpuList('1')).toEqual([1]);
  expect(cpuList('')).toEqual([]);
});

test('a process that does something is seen on a CPU, with the time it takes', () => {
  const before = cpuUseOf(process.pid);
  const start = process.cpuUsage();
  while (process.cpuUsage(start).user < 20_000);
  const after = cpuUseOf(process.pid);
  expect(cpuOf(process.pid)).toBeGreaterThanOrEqual(0);
  expect(after?.ns).toBeGreaterThan(before?.ns ?? Number.NaN);
});

test('of a process that is gone nothing is known', () => {
  expect(cpuOf(2 ** 22 + 1)).toBeNull();
  expect(cpuUseOf(2 ** 22 + 1)).toBeNull();
});

test('the floor tells the state of the machine', () => {
  expect(stateOf(110)).toBe('near');
  expect(stateOf(550)).toBe('far');
  expect(stateOf(5000)).toBe('disturbed');
});
