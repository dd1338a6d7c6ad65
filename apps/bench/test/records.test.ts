import { describe, expect, test } from 'vitest';
import type { FloorFigures } from '../src/floor.ts';
import { isMet, recordsOf } from '../src/records.ts';
import type { RoundFigures } from '../src/run.ts';
import type { Case } from '../src/scenario.ts';
import { scenarios } from '../src/scenarios.ts';

function floor(ringNs: number, memcpyBytesPerSecond: number | null = null): FloorFigures {
  return { ringNs, state: 'near', eventfdNs: null, coldNs: null, memcpyBytesPerSecond };
}

function round(p50Ns: number | null, perSecond: number | null = null): RoundFigures {
  return {
    latency: p50Ns === null ? null : { p50Ns, p99Ns: p50Ns * 2, p999Ns: p50Ns * 3, cdfNs: [p50Ns] },
    perSecond,
    bytesPerClient: null,
    cpuShare: null,
    wakeUpsPerSecond: null,
    clientCpu: 0,
    serverCpu: 1,
  };
}

const request = { variant: '', workload: { kind: 'request', bytes: 64 }, figure: 'latency', floor: 'ring' } as const;
const unix: Case = { ...request, link: 'unix', reference: { link: 'net', variant: '' } };
const net: Case = { ...request, link: 'net' };
const zeromq: Case = { ...request, link: 'zeromq' };

function latencies(floors: (FloorFigures | null)[], ...cases: [Case, number[]][]): ReturnType<typeof recordsOf> {
  return recordsOf({
    scenario: { name: 'request-64', title: '', cases: cases.map(([one]) => one) },
    floors,
    cases: cases.map(([one, rounds]) => ({ case: one, outcome: 'measured', rounds: rounds.map((ns) => round(ns)) })),
    clockNs: 0,
  });
}

describe('a ratio', () => {
  test('is made within a round and only then a median, so a machine that slows down for a while changes nothing', () => {
    const [record] = latencies(
      [floor(100), floor(500), floor(100), floor(500), floor(500)],
      [unix, [1000, 5000, 1000, 5000, 5000]],
      [net, [2000, 10_000, 2000, 10_000, 10_000]],
    );
    expect(record).toMatchObject({ p50Ns: 5000, ratioToFloor: 10, ratioToBestPeer: 2, ratioToReference: 0.5 });
  });

  test('to the best peer is to the one with the best median, and says which', () => {
    const [record, ...peers] = latencies(
      [floor(100), floor(100), floor(100)],
      [unix, [1000, 1000, 1000]],
      // Best in one round, but not on the whole.
      [zeromq, [500, 4000, 4000]],
      [net, [3000, 3000, 3000]],
    );
    expect(record).toMatchObject({ transport: 'unix', peer: 'net', ratioToBestPeer: 3 });
    expect(peers).toMatchObject([
      { transport: null, peer: 'zeromq', ratioToBestPeer: null },
      { transport: null, peer: 'net', ratioToBestPeer: null },
    ]);
  });

  test('of rates counts up: so many times the floor, so many times the peer', () => {
    const rate = { ...request, figure: 'rate' } as const;
    const [record] = recordsOf({
      scenario: { name: 'pipelined-256', title: '', cases: [] },
      floors: [floor(100)],
      cases: [
        { case: { ...rate, link: 'unix' }, outcome: 'measured', rounds: [round(null, 20e6)] },
        { case: { ...rate, link: 'net' }, outcome: 'measured', rounds: [round(null, 5e6)] },
      ],
      clockNs: 0,
    });
    expect(record?.ratioToFloor).toBeCloseTo(2);
    expect(record?.ratioToBestPeer).toBeCloseTo(4);
  });

  test('to copying is of bytes', () => {
    const [record] = recordsOf({
      scenario: { name: 'large-1m', title: '', cases: [] },
      floors: [floor(100, 50e9)],
      cases: [
        {
          case: {
            link: 'unix',
            variant: '',
            workload: { kind: 'large', bytes: 1e6, ringBytes: 8e6, depth: 2 },
            figure: 'rate',
            floor: 'memcpy',
          },
          outcome: 'measured',
          rounds: [round(null, 25_000)],
        },
      ],
      clockNs: 0,
    });
    expect(record?.ratioToFloor).toBeCloseTo(0.5);
  });

  test('to a floor that this machine cannot have is null', () => {
    const [record] = latencies([null, null], [unix, [1000, 1000]]);
    expect(record).toMatchObject({ p50Ns: 1000, ratioToFloor: null, ratioToBestPeer: null, ratioToReference: null });
    expect(record?.perRound[0]).toMatchObject({ floorNs: null, state: null });
  });
});

test('what was skipped or failed has no record', () => {
  const records = recordsOf({
    scenario: { name: 'request-64', title: '', cases: [] },
    floors: [floor(100)],
    cases: [
      { case: unix, outcome: 'measured', rounds: [round(1000)] },
      { case: zeromq, outcome: 'skipped', reason: 'zeromq is not installed' },
      { case: net, outcome: 'failed', reason: 'it ended' },
    ],
    clockNs: 0,
  });
  expect(records.map(({ transport }) => transport)).toEqual(['unix']);
});

test('a target is met when all of its limits hold, and open while one cannot be told', () => {
  const metrics = { ratioToFloor: 2, ratioToBestPeer: 150, ratioToReference: null, cpuShare: null };
  expect(isMet({ ratioToFloor: { atMost: 2 }, ratioToBestPeer: { atLeast: 150 } }, metrics)).toBe(true);
  expect(isMet({ ratioToFloor: { atMost: 1.99 }, ratioToBestPeer: { atLeast: 100 } }, metrics)).toBe(false);
  expect(isMet({ ratioToFloor: { atMost: 3 }, ratioToBestPeer: { atLeast: 151 } }, metrics)).toBe(false);
  expect(isMet({ ratioToReference: { atMost: 1 } }, metrics)).toBeNull();
});

test('every reference is a case of the same scenario, and no two cases have one name', () => {
  for (const { name, cases } of scenarios) {
    const names = cases.map(({ link, variant }) => `${name}/${link}/${variant}`);
    expect(new Set(names).size).toBe(names.length);
    for (const { reference, fullOnly } of cases) {
      if (reference === undefined) continue;
      const found = cases.find(({ link, variant }) => link === reference.link && variant === reference.variant);
      expect(found).toBeDefined();
      // What a quick run measures has its reference there, too.
      if (fullOnly !== true) expect(found?.fullOnly ?? false).toBe(false);
    }
  }
});
