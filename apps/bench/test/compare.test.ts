import { expect, test } from 'vitest';
import { compare } from '../src/compare.ts';
import type { BenchRecord } from '../src/result.ts';
import { exampleRecord, exampleResult } from './fixtures/example-result.mjs';

function unix(changes: Partial<BenchRecord> = {}): BenchRecord {
  return exampleRecord({ scenario: 'request-64', transport: 'unix', peer: 'net', p50Ns: 20_000, ...changes });
}

/** Rounds with these medians, and no ratios. */
function scattered(p50s: number[]): BenchRecord {
  const record = unix();
  const [first] = record.perRound;
  if (first === undefined) throw new Error('Expected a round');
  return { ...record, perRound: p50s.map((p50Ns) => ({ ...first, p50Ns })) };
}

test('a run compared with itself has no regressions and no caveats', () => {
  const { regressions, caveats, changes } = compare(exampleResult(), exampleResult());
  expect(regressions).toEqual([]);
  expect(caveats).toEqual([]);
  expect(changes.length).toBeGreaterThan(0);
});

test('a latency that grew beyond the noise is a regression, and says by how much', () => {
  const { regressions } = compare(exampleResult([unix()]), exampleResult([unix({ p50Ns: 30_000 })]));
  expect(regressions).toMatchObject([{ scenario: 'request-64', transport: 'unix', yardstick: 'p50Ns' }]);
  expect(regressions[0]?.worseBy).toBeCloseTo(0.5);
});

test('a rate that fell is a regression, and one that grew is not', () => {
  const slow = unix({ figure: 'rate', perSecond: 50_000 });
  const fast = unix({ figure: 'rate', perSecond: 100_000 });
  expect(compare(exampleResult([fast]), exampleResult([slow])).regressions).toHaveLength(1);
  expect(compare(exampleResult([slow]), exampleResult([fast])).regressions).toHaveLength(0);
});

test('what was twice as good as the best peer and now is as good is a regression', () => {
  const before = unix({ ratioToBestPeer: 2 });
  const after = unix({ ratioToBestPeer: 1 });
  expect(compare(exampleResult([before]), exampleResult([after])).regressions).toMatchObject([
    { yardstick: 'ratioToBestPeer', before: 2, after: 1 },
  ]);
  expect(compare(exampleResult([after]), exampleResult([before])).regressions).toEqual([]);
});

test('a slower machine is no regression when the peer is slower by as much', () => {
  const before = unix({ p50Ns: 20_000, ratioToBestPeer: 0.95 });
  const after = unix({ p50Ns: 60_000, ratioToBestPeer: 0.95 });
  expect(compare(exampleResult([before]), exampleResult([after])).regressions).toEqual([]);
});

test('ratios to different peers are not compared', () => {
  const before = unix({ peer: 'net', ratioToBestPeer: 4 });
  const after = unix({ peer: 'zeromq', ratioToBestPeer: 1 });
  expect(compare(exampleResult([before]), exampleResult([after])).changes).toMatchObject([{ yardstick: 'p50Ns' }]);
});

test('the same change is a regression between quiet runs and none between noisy ones', () => {
  const verdict = (before: number[], after: number[]): number =>
    compare(exampleResult([scattered(before)]), exampleResult([scattered(after)])).regressions.length;
  expect(verdict([99, 100, 100, 100, 101], [119, 120, 120, 120, 121])).toBe(1);
  expect(verdict([60, 80, 100, 120, 140], [80, 100, 120, 140, 160])).toBe(0);
});

test('a change of less than a tenth is none, however quiet the rounds were', () => {
  const { regressions } = compare(
    exampleResult([scattered([100, 100, 100, 100, 100])]),
    exampleResult([scattered([109, 109, 109, 109, 109])]),
  );
  expect(regressions).toEqual([]);
});

test('the peers’ own figures are nobody’s regression', () => {
  const net = (p50Ns: number): BenchRecord =>
    exampleRecord({ scenario: 'request-64', transport: null, peer: 'net', p50Ns });
  expect(compare(exampleResult([net(10_000)]), exampleResult([net(50_000)])).changes).toEqual([]);
});

test('another machine or another Node is said with the result', () => {
  const now = exampleResult();
  const old = { ...now, machine: { ...now.machine, node: 'v22.0.0' } };
  expect(compare(old, now).caveats).toEqual(['Node was v22.0.0, is v20.20.0']);
});
