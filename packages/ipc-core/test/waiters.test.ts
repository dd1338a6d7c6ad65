import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { Waiters } from '../src/waiters.ts';

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

test('those who wait are served in order, and who comes later waits behind them', async () => {
  const waiters = new Waiters();
  const there: string[] = [];
  const take = (): string | undefined => there.shift();
  const over = (): boolean => false;
  const first = waiters.wait(take, undefined, over);
  const second = waiters.wait(take, undefined, over);
  expect(waiters.any).toBe(true);
  // It is there, and nobody was woken yet: still it is not for who comes last.
  there.push('a');
  const third = waiters.wait(take, undefined, over);
  expect(there).toEqual(['a']);
  waiters.wake();
  expect(await first).toBe('a');
  there.push('b', 'c');
  waiters.wake();
  expect(await Promise.all([second, third])).toEqual(['b', 'c']);
  expect(waiters.any).toBe(false);
});

test('what is there is taken at once, and a timeout of 0 is no wait', async () => {
  const waiters = new Waiters();
  expect(
    await waiters.wait(
      () => 5,
      0,
      () => false,
    ),
  ).toBe(5);
  expect(
    await waiters.wait(
      () => undefined,
      0,
      () => false,
    ),
  ).toBeUndefined();
  expect(waiters.any).toBe(false);
});

test('a wait ends with undefined after its timeout, or as soon as it is over', async () => {
  const waiters = new Waiters();
  let over = false;
  const timed = waiters.wait(
    () => undefined,
    100,
    () => over,
  );
  const forEver = waiters.wait(
    () => undefined,
    undefined,
    () => over,
  );
  await vi.advanceTimersByTimeAsync(99);
  expect(waiters.any).toBe(true);
  await vi.advanceTimersByTimeAsync(1);
  expect(await timed).toBeUndefined();
  over = true;
  waiters.wake();
  expect(await forEver).toBeUndefined();
  expect(
    await waiters.wait(
      () => undefined,
      undefined,
      () => over,
    ),
  ).toBeUndefined();
  expect(vi.getTimerCount()).toBe(0);
});
