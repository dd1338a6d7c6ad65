import { expect, test } from 'vitest';
import { EarlyCancels } from '../src/early-cancels.ts';

test('a cancel that waits is for one request, and its place is passed once', () => {
  const cancels = new EarlyCancels();
  cancels.add(5, true);
  expect(cancels.take(6)).toBe(false);
  expect(cancels.take(5)).toBe(true);
  expect(cancels.take(5)).toBe(false);
  expect(cancels.size).toBe(1);
  cancels.pass(5);
  cancels.pass(5);
  expect(cancels.size).toBe(0);
});

test('one that acted when it came waits for nothing', () => {
  const cancels = new EarlyCancels();
  cancels.add(5, false);
  cancels.add(5, true);
  expect(cancels.take(5)).toBe(true);
  expect(cancels.take(5)).toBe(false);
  cancels.pass(5);
  expect(cancels.size).toBe(1);
  cancels.pass(5);
  expect(cancels.size).toBe(0);
});
