/** The JSON that a run writes: `--json FILE`. Described in docs/benchmarks.md; names there and here are the same. */
import { readFileSync, writeFileSync } from 'node:fs';
import type { State } from './floor.ts';
import type { Machine } from './machine.ts';
import type { Figure, Target } from './scenario.ts';

export const SCHEMA = 'spanwire-bench/1';

export interface BenchResult {
  readonly schema: typeof SCHEMA;
  /** ISO 8601, in UTC. */
  readonly date: string;
  readonly quick: boolean;
  readonly pinned: boolean;
  readonly machine: Machine;
  /** What was taken off each latency for reading the clock; the median of all clients. */
  readonly clockNs: number;
  readonly records: readonly BenchRecord[];
  /** What cannot be had here: peers that are not installed, and shared memory off Linux. */
  readonly skipped: readonly { readonly scenario: string; readonly peer: string; readonly reason: string }[];
  /** What should have been measured and was not; the run's exit code is 1. */
  readonly failed: readonly {
    readonly scenario: string;
    readonly transport: string | null;
    readonly peer: string | null;
  }[];
}

/** One link in one scenario: medians of its rounds. */
export interface BenchRecord {
  readonly scenario: string;
  /** Tells records of one link in a scenario apart; empty when there is one. */
  readonly variant: string;
  /** Spanwire's transport; null when this record is a peer's own. */
  readonly transport: string | null;
  /** The peer whose record this is, or the best one, with which `ratioToBestPeer` compares. */
  readonly peer: string | null;
  /** What counts here, and what ratios are made of: `p50Ns`, `p99Ns`, `perSecond`, `cpuShare` or `bytesPerClient`. */
  readonly figure: Figure;
  /** Payload of one message; null where there is none. */
  readonly bytes: number | null;
  readonly clients: number;

  readonly p50Ns: number | null;
  readonly p99Ns: number | null;
  readonly p999Ns: number | null;
  readonly perSecond: number | null;
  readonly cpuShare: number | null;
  readonly wakeUpsPerSecond: number | null;
  readonly bytesPerClient: number | null;

  /** Latency: how many times the floor's. Rate: how many times the floor's (of copies: in bytes). */
  readonly ratioToFloor: number | null;
  /** How many times as good as the best peer: above 1 is better, for latencies too. */
  readonly ratioToBestPeer: number | null;
  /** The record that `ratioToReference` compares with: a link and a variant. */
  readonly reference: string | null;
  /** Latency: how many times the reference's. Rate: how many times the reference's. */
  readonly ratioToReference: number | null;

  readonly target: Target | null;
  /** Whether all limits of `target` hold; null without a target, or where this machine cannot tell. */
  readonly met: boolean | null;
  /** How many rounds were measured; each is in `perRound`. */
  readonly rounds: number;
  readonly perRound: readonly RoundRecord[];
  /** Latencies at the shares of {@link CDF_SHARES}, medians of the rounds; null where none are measured. */
  readonly cdfNs: readonly number[] | null;
}

export interface RoundRecord {
  readonly p50Ns: number | null;
  readonly p99Ns: number | null;
  readonly p999Ns: number | null;
  readonly perSecond: number | null;
  readonly cpuShare: number | null;
  readonly bytesPerClient: number | null;
  readonly ratioToFloor: number | null;
  readonly ratioToBestPeer: number | null;
  readonly ratioToReference: number | null;
  /** The round trip of the native floor in this round, and what that says of the machine. */
  readonly floorNs: number | null;
  readonly state: State | null;
  readonly clientCpu: number | null;
  readonly serverCpu: number | null;
}

export { CDF_SHARES } from './worker/control.ts';

/** Six digits are more than anything here is worth. */
export function writeResult(path: string, result: BenchResult): void {
  const shorten = (_name: string, value: unknown): unknown =>
    typeof value === 'number' ? Number(value.toPrecision(6)) : value;
  writeFileSync(path, `${JSON.stringify(result, shorten)}\n`);
}

/** Throws a TypeError when the file is none that this version wrote. */
export function readResult(path: string): BenchResult {
  const found = JSON.parse(readFileSync(path, 'utf8')) as Partial<BenchResult> | null;
  if (found?.schema !== SCHEMA || !Array.isArray(found.records)) {
    throw new TypeError(`Expected ${path} to have the schema ${SCHEMA}, got ${JSON.stringify(found?.schema)}`);
  }
  return found as BenchResult;
}
