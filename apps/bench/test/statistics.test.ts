import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { median, medianOf, relativeNoise } from '../src/statistics.ts';

test('the median is the middle value, or the mean of the two middle ones, in whatever order they come', () => {
  expect(median([30, 10, 20])).toBe(20);
  expect(median([40, 10, 30, 20])).toBe(25);
  expect(median([7])).toBe(7);
  expect(median([])).toBeNaN();
});

test('at most half of the values are below the median, and at most half above it', () => {
  fc.assert(
    fc.property(fc.array(fc.double({ min: -1e9, max: 1e9, noNaN: true }), { minLength: 1 }), (values) => {
      const middle = median(values);
      expect(values.filter((value) => value < middle).length).toBeLessThanOrEqual(values.length / 2);
      expect(values.filter((value) => value > middle).length).toBeLessThanOrEqual(values.length / 2);
    }),
  );
});

test('rounds without a figure are left out of the median, and without any there is none', () => {
  expect(medianOf([null, 3, null, 5])).toBe(4);
  expect(medianOf([null, null])).toBeNull();
});

test('noise does not depend on the unit, and one round that was disturbed hardly changes it', () => {
  const quiet = [98, 99, 100, 101, 102];
  expect(relativeNoise(quiet.map((ns) => ns / 1000))).toBeCloseTo(relativeNoise(quiet), 12);
  expect(relativeNoise([98, 99, 100, 101, 9000])).toBeLessThan(2 * relativeNoise(quiet));
  expect(relativeNoise([80, 90, 100, 110, 120])).toBeGreaterThan(5 * relativeNoise(quiet));
  expect(relativeNoise([100, 100, 100, 100, 100])).toBe(0);
});
