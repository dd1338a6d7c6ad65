import { expect, test } from 'vitest';
import { UnderWay } from '../../src/barretenberg/under-way.ts';

const RING = 4096;

/** Whether so many answers fit half of the ring, with what one of them may have to skip before the end. */
function fit(count: number, bytes: number): boolean {
  return (count + 1) * (4 + bytes) <= RING / 2;
}

test('one request goes alone until its answer shows how large answers are', () => {
  const underWay = new UnderWay(RING);
  expect(underWay.limit).toBe(1);
  underWay.came(1, 57);
  expect(underWay.limit).toBeGreaterThan(1);
});

test('as many as fit half of the ring are under way, and one at least', () => {
  for (let bytes = 0; bytes <= RING / 2 - 4; bytes++) {
    const underWay = new UnderWay(RING);
    underWay.came(1, bytes);
    if (underWay.limit > 1) expect(fit(underWay.limit, bytes)).toBe(true);
    expect(fit(underWay.limit + 1, bytes)).toBe(false);
  }
});

test('a larger answer counts at once, and is forgotten after some hundred smaller ones', () => {
  const underWay = new UnderWay(RING);
  underWay.came(10, 20);
  const { limit } = underWay;
  underWay.came(1, 1500);
  expect(underWay.limit).toBe(1);
  let answers = 0;
  for (; underWay.limit < limit; answers++) underWay.came(1, 20);
  expect(answers).toBeGreaterThanOrEqual(256);
  expect(answers).toBeLessThanOrEqual(600);
});
