/** Records as people read them: the same words in the terminal and in the report. */
import type { BenchRecord, BenchResult } from './result.ts';
import type { Metric } from './scenario.ts';
import { formatBytes, formatBytesPerSecond, formatRate, formatRatio, formatShare } from './units.ts';

/** `Spanwire shm, promise`, or `net`. */
export function labelOf({ transport, peer, variant }: BenchRecord): string {
  const name = transport === null ? (peer ?? '') : `Spanwire ${transport}`;
  return variant === '' ? name : `${name}, ${variant}`;
}

/** What this record has besides latencies. */
export function amountOf(record: BenchRecord): string {
  switch (record.figure) {
    case 'latency':
    case 'tail':
    case 'rate':
      return record.bytes !== null && record.bytes >= 2 ** 20 && record.perSecond !== null
        ? formatBytesPerSecond(record.perSecond * record.bytes)
        : formatRate(record.perSecond);
    case 'cpu':
      return `${formatShare(record.cpuShare)}, ${formatRate(record.wakeUpsPerSecond)}`;
    default:
      return formatBytes(record.bytesPerClient);
  }
}

/** What a ratio of a record is to, as in `against net`. */
const metricNames: Record<Metric, (record: BenchRecord) => string> = {
  ratioToFloor: () => 'of the floor',
  ratioToBestPeer: ({ peer }) => `as good as ${peer ?? 'the best peer'}`,
  ratioToReference: ({ reference }) => `of ${reference ?? 'its reference'}`,
  cpuShare: () => 'of a CPU',
};

export interface TargetRow {
  readonly record: BenchRecord;
  /** The figure, as in `1.8× of the floor`. */
  readonly figure: string;
  /** The limit, as in `at most 1.8×`. */
  readonly limit: string;
  readonly met: boolean | null;
}

/** Each limit of each target is a row. */
export function targetRowsOf({ records }: BenchResult): TargetRow[] {
  return records.flatMap((record) =>
    Object.entries(record.target ?? {}).map(([name, limit]): TargetRow => {
      const metric = name as Metric;
      const format = metric === 'cpuShare' ? formatShare : formatRatio;
      const value = record[metric];
      return {
        record,
        figure: value === null ? 'not measured' : `${format(value)} ${metricNames[metric](record)}`,
        limit: 'atMost' in limit ? `at most ${format(limit.atMost)}` : `at least ${format(limit.atLeast)}`,
        met: value === null ? null : 'atMost' in limit ? value <= limit.atMost : value >= limit.atLeast,
      };
    }),
  );
}

/** `near 5, far 2`: how many rounds of a record were in which state. */
export function statesOf({ perRound }: BenchRecord): string {
  const counts = new Map<string, number>();
  for (const { state } of perRound) if (state !== null) counts.set(state, (counts.get(state) ?? 0) + 1);
  return [...counts].map(([state, count]) => `${state} ${count}`).join(', ');
}
