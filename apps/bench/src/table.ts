/** The end of a run, on a terminal. */
import Table from 'cli-table3';
import type { Comparison } from './compare.ts';
import type { BenchResult } from './result.ts';
import { labelOf, amountOf, statesOf, targetRowsOf } from './rows.ts';
import { scenarios } from './scenarios.ts';
import { formatNs, formatRatio, formatShare } from './units.ts';

const RIGHT = 'right' as const;
const LEFT = 'left' as const;
/** Cells without colours, close together. */
const plain = { style: { head: [], border: [], compact: true } };

export function tablesOf(result: BenchResult): string {
  return [...scenarioTables(result), ...targetTable(result), ...notes(result)].join('\n\n');
}

function scenarioTables({ records }: BenchResult): string[] {
  return scenarios.flatMap(({ name, title }) => {
    const ours = records.filter(({ scenario }) => scenario === name);
    if (ours.length === 0) return [];
    const table = new Table({
      head: [name, '', 'p50', 'p99', 'p99.9', 'to floor', 'to best peer', 'to reference', 'rounds'],
      colAligns: [LEFT, RIGHT, RIGHT, RIGHT, RIGHT, RIGHT, RIGHT, RIGHT, LEFT],
      ...plain,
    });
    for (const record of ours) {
      table.push([
        labelOf(record),
        amountOf(record),
        formatNs(record.p50Ns),
        formatNs(record.p99Ns),
        formatNs(record.p999Ns),
        formatRatio(record.ratioToFloor),
        formatRatio(record.ratioToBestPeer),
        formatRatio(record.ratioToReference),
        statesOf(record) || String(record.rounds),
      ]);
    }
    return [`${title}\n${table.toString()}`];
  });
}

function targetTable(result: BenchResult): string[] {
  const rows = targetRowsOf(result);
  if (rows.length === 0) return [];
  const table = new Table({ head: ['target', '', 'limit', 'figure', ''], ...plain });
  for (const { record, figure, limit, met } of rows) {
    table.push([record.scenario, labelOf(record), limit, figure, met === null ? '' : met ? 'met' : 'MISSED']);
  }
  return [table.toString()];
}

function notes({ skipped, failed, clockNs, machine }: BenchResult): string[] {
  const reasons = new Map(skipped.map(({ peer, reason }) => [peer, reason]));
  const lines = [
    `${machine.cpuModel}, ${machine.cpus} CPUs, ${machine.kernel}, Node ${machine.node}; ${formatNs(clockNs)} for reading the clock taken off`,
    ...[...reasons].map(([peer, reason]) => `skipped ${peer}: ${reason}`),
    ...failed.map(({ scenario, transport, peer }) => `FAILED ${scenario}: ${transport ?? peer ?? ''}`),
  ];
  return [lines.join('\n')];
}

export function comparisonTable({ changes, caveats }: Comparison): string {
  const table = new Table({
    head: ['scenario', 'transport', 'measured as', 'before', 'after', 'worse by', 'noise', ''],
    ...plain,
  });
  for (const { scenario, variant, transport, yardstick, before, after, worseBy, allowance } of changes) {
    const name = variant === '' ? transport : `${transport}, ${variant}`;
    const numbers = [before, after].map((value) => value.toPrecision(4));
    const verdict = worseBy > allowance ? 'REGRESSION' : worseBy < -allowance ? 'better' : '';
    table.push([scenario, name, yardstick, ...numbers, formatShare(worseBy), formatShare(allowance), verdict]);
  }
  return [table.toString(), ...caveats].join('\n');
}
