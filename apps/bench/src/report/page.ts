/** The report: one HTML file that needs no other, and no network. */
import { SCHEMA, type BenchRecord, type BenchResult } from '../result.ts';
import { amountOf, labelOf, statesOf, targetRowsOf } from '../rows.ts';
import { scenarios } from '../scenarios.ts';
import { formatNs, formatRatio } from '../units.ts';
import type { Plot } from './plots.ts';

export interface DrawnPlot extends Plot {
  readonly svg: string;
}

export function pageOf(result: BenchResult, plots: readonly DrawnPlot[]): string {
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Spanwire benchmark</title>
<style>${STYLE}</style>
</head>
<body>
<main>
<h1>Spanwire benchmark</h1>
<p class="facts">${factsOf(result).map(escape).join(' · ')}</p>
<div class="plots">
${plots.map(figure).join('\n')}
</div>
${targets(result)}
<h2>All figures</h2>
<p>Medians of rounds. “To floor” is against two native processes in the same round, “to best peer” how many times as good as the best
of what one would use instead (above 1 is better), “to reference” against the row that it is compared with.</p>
${scenarios.map(({ name, title }) => figures(name, title, result.records)).join('\n')}
${notes(result)}
</main>
</body>
</html>
`;
}

function figure({ title, caption, svg }: DrawnPlot): string {
  return `<figure><figcaption><strong>${escape(title)}</strong><br>${escape(caption)}</figcaption>\n${svg}</figure>`;
}

function factsOf({ machine, date, pinned, quick, clockNs }: BenchResult): string[] {
  return [
    machine.cpuModel,
    `${machine.cpus} CPUs`,
    machine.kernel,
    `Node ${machine.node}`,
    ...(machine.commit === null ? [] : [`commit ${machine.commit.slice(0, 10)}`]),
    date.slice(0, 10),
    pinned ? 'pinned' : 'not pinned',
    ...(quick ? ['quick'] : []),
    `${formatNs(clockNs)} for reading the clock taken off`,
    SCHEMA,
  ];
}

function targets(result: BenchResult): string {
  const rows = targetRowsOf(result).map(({ record, limit, figure, met }) => [
    escape(record.scenario),
    escape(labelOf(record)),
    escape(limit),
    escape(figure),
    met === null ? '' : met ? '<span class="met">met</span>' : '<span class="missed">missed</span>',
  ]);
  if (rows.length === 0) return '';
  return `<h2>Targets</h2>\n${table(['scenario', '', 'limit', 'figure', ''], rows)}`;
}

function figures(scenario: string, title: string, records: readonly BenchRecord[]): string {
  const ours = records.filter((record) => record.scenario === scenario);
  if (ours.length === 0) return '';
  const head = ['', '', 'p50', 'p99', 'p99.9', 'to floor', 'to best peer', 'to reference', 'rounds'];
  const rows = ours.map((record) =>
    [
      labelOf(record),
      amountOf(record),
      formatNs(record.p50Ns),
      formatNs(record.p99Ns),
      formatNs(record.p999Ns),
      formatRatio(record.ratioToFloor),
      formatRatio(record.ratioToBestPeer),
      formatRatio(record.ratioToReference),
      statesOf(record) || String(record.rounds),
    ].map(escape),
  );
  return `<h3 id="${scenario}"><code>${scenario}</code> ${escape(title)}</h3>\n${table(head, rows)}`;
}

/** Cells are HTML. */
function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const row = (cells: readonly string[], tag: 'td' | 'th'): string =>
    `<tr>${cells.map((cell) => `<${tag}>${cell}</${tag}>`).join('')}</tr>`;
  return `<div class="table"><table><thead>${row(head, 'th')}</thead><tbody>${rows.map((cells) => row(cells, 'td')).join('\n')}</tbody></table></div>`;
}

function notes({ skipped, failed }: BenchResult): string {
  const lines = [
    ...new Map(skipped.map(({ peer, reason }) => [peer, `Skipped ${peer}: ${reason}.`])).values(),
    ...failed.map(({ scenario, transport, peer }) => `Failed: ${scenario}, ${transport ?? peer ?? ''}.`),
  ];
  return lines.map((line) => `<p>${escape(line)}</p>`).join('\n');
}

function escape(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;');
}

const STYLE = `
:root { color-scheme: light dark; --fg: #1f2328; --muted: #59636e; --line: #d8dee4; --bg: #fff; --good: #1a7f37; --bad: #cf222e }
@media (prefers-color-scheme: dark) {
  :root { --fg: #f0f6fc; --muted: #9198a1; --line: #3d444d; --bg: #0d1117; --good: #3fb950; --bad: #ff7b72 }
}
* { box-sizing: border-box }
body { margin: 0; font: 16px/1.5 system-ui, sans-serif; color: var(--fg); background: var(--bg) }
main { max-width: 1120px; margin: 0 auto; padding: 24px 16px 64px }
h1 { margin: 0; font-size: 1.75rem }
h2 { margin: 48px 0 8px }
h3 { margin: 32px 0 8px; font-size: 1rem }
.facts { margin: 4px 0 24px; color: var(--muted) }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 460px), 1fr)); gap: 40px }
figure { margin: 0 }
figcaption { min-height: 5em; font-size: .9rem; color: var(--muted) }
figcaption strong { font-size: 1rem; color: var(--fg) }
figure svg { display: block; width: 100%; max-width: 600px; height: auto }
.table { overflow-x: auto }
table { border-collapse: collapse; font-size: .85rem; font-variant-numeric: tabular-nums; white-space: nowrap }
th, td { padding: 4px 12px 4px 0; border-bottom: 1px solid var(--line); text-align: right }
th { font-weight: 600; color: var(--muted) }
th:first-child, td:first-child, th:last-child, td:last-child { text-align: left }
.met { color: var(--good) }
.missed { color: var(--bad); font-weight: 600 }
`;
