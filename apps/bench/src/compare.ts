/** `--compare OLD.json`: what became slower than chance explains. */
import { lessIsBetter } from './records.ts';
import type { BenchRecord, BenchResult, RoundRecord } from './result.ts';
import { median, relativeNoise } from './statistics.ts';

/** Where a change can be seen best; a key of both records and rounds. */
type Yardstick = keyof RoundRecord &
  (
    | 'ratioToFloor'
    | 'ratioToBestPeer'
    | 'ratioToReference'
    | 'p50Ns'
    | 'p99Ns'
    | 'perSecond'
    | 'cpuShare'
    | 'bytesPerClient'
  );

export interface Change {
  readonly scenario: string;
  readonly variant: string;
  readonly transport: string;
  readonly yardstick: Yardstick;
  readonly before: number;
  readonly after: number;
  /** By how much it got worse, as a share; negative: better. */
  readonly worseBy: number;
  /** What chance explains. */
  readonly allowance: number;
}

export interface Comparison {
  /** Every record of a transport that both runs have, the worst first. */
  readonly changes: readonly Change[];
  readonly regressions: readonly Change[];
  /** Why the two runs may differ though the code does not. */
  readonly caveats: readonly string[];
}

/** Less than this is no regression, however quiet the rounds were: code lies elsewhere in memory, and so on. */
const SMALLEST = 0.1;
/** A share of a CPU below which idle is idle. */
const NEXT_TO_NOTHING = 0.001;
/** How many standard errors chance gets. */
const ERRORS = 3;

export function compare(old: BenchResult, now: BenchResult): Comparison {
  const changes = now.records
    .flatMap((record) => {
      const earlier = old.records.find((other) => keyOf(other) === keyOf(record));
      return earlier === undefined || record.transport === null
        ? []
        : (changeOf(record.transport, earlier, record) ?? []);
    })
    .sort((a, b) => b.worseBy - b.allowance - (a.worseBy - a.allowance));
  return {
    changes,
    regressions: changes.filter(({ worseBy, allowance }) => worseBy > allowance),
    caveats: caveatsOf(old, now),
  };
}

function changeOf(transport: string, old: BenchRecord, now: BenchRecord): Change | undefined {
  const yardstick = yardstickOf(old, now);
  const valuesBefore = valuesOf(old, yardstick);
  const valuesAfter = valuesOf(now, yardstick);
  if (valuesBefore.length === 0 || valuesAfter.length === 0) return undefined;
  const before = median(valuesBefore);
  const after = median(valuesAfter);
  if (before === 0 || (yardstick === 'cpuShare' && after <= NEXT_TO_NOTHING)) return undefined;
  const growth = (after - before) / before;
  return {
    scenario: now.scenario,
    variant: now.variant,
    transport,
    yardstick,
    before,
    after,
    worseBy: isBetterSmall(yardstick, now) ? growth : -growth,
    allowance: Math.max(SMALLEST, ERRORS * Math.hypot(relativeNoise(valuesBefore), relativeNoise(valuesAfter))),
  };
}

/**
 * The machine may be in another state than it was. Shared memory waits for the other CPU, so it is compared with the floor, which does just
 * that; what goes through the kernel, with a peer that does, too.
 */
function yardstickOf(old: BenchRecord, now: BenchRecord): Yardstick {
  const both = (name: Yardstick): boolean => old[name] !== null && now[name] !== null;
  if (now.figure === 'cpu') return 'cpuShare';
  if (now.figure === 'memory') return 'bytesPerClient';
  if (now.transport?.startsWith('shm') === true && both('ratioToFloor')) return 'ratioToFloor';
  if (old.reference === now.reference && both('ratioToReference')) return 'ratioToReference';
  if (old.peer === now.peer && both('ratioToBestPeer')) return 'ratioToBestPeer';
  if (now.figure === 'rate') return 'perSecond';
  return now.figure === 'tail' ? 'p99Ns' : 'p50Ns';
}

function isBetterSmall(yardstick: Yardstick, { figure }: BenchRecord): boolean {
  return yardstick !== 'ratioToBestPeer' && lessIsBetter(figure);
}

function valuesOf({ perRound }: BenchRecord, yardstick: Yardstick): number[] {
  return perRound.map((round) => round[yardstick]).filter((value) => value !== null);
}

function keyOf({ scenario, variant, transport }: BenchRecord): string {
  return JSON.stringify([scenario, variant, transport]);
}

function caveatsOf(old: BenchResult, now: BenchResult): string[] {
  const facts = (result: BenchResult): Record<string, unknown> => ({
    'CPU model': result.machine.cpuModel,
    CPUs: result.machine.cpus,
    kernel: result.machine.kernel,
    Node: result.machine.node,
    '--pin': result.pinned,
    '--quick': result.quick,
  });
  const after = facts(now);
  return Object.entries(facts(old))
    .filter(([name, value]) => value !== after[name])
    .map(([name, value]) => `${name} was ${String(value)}, is ${String(after[name])}`);
}
