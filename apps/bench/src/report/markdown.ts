import type { BenchResult } from '../result.ts';
import { labelOf, targetRowsOf } from '../rows.ts';
import { scenarios } from '../scenarios.ts';

/** The targets as a table for a README. */
export function markdownOf(result: BenchResult): string {
  const { cpuModel, cpus, kernel, node } = result.machine;
  const rows = targetRowsOf(result).map(({ record, limit, figure, met }) => {
    const title = scenarios.find(({ name }) => name === record.scenario)?.title ?? record.scenario;
    const verdict = met === null ? '' : met ? 'met' : '**missed**';
    return `| ${title} | ${labelOf(record)} | ${limit} | ${figure} | ${verdict} |`;
  });
  return [
    '| | | target | measured | |',
    '|---|---|---|---|---|',
    ...rows,
    '',
    `${cpuModel}, ${cpus} CPUs, ${kernel}, Node ${node}.`,
    '',
  ].join('\n');
}
