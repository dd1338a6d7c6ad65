import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { plotsOf } from '../src/report/plots.ts';
import { renderPlot } from '../src/report/render.ts';
import { writeReport } from '../src/report/write-report.ts';
import { exampleResult } from './fixtures/example-result.mjs';

const result = exampleResult();
let folder: string;
let page: string;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'spanwire-bench-report-'));
  await writeReport(join(folder, 'new', 'folder'), result);
  folder = join(folder, 'new', 'folder');
  page = readFileSync(join(folder, 'index.html'), 'utf8');
});

afterAll(() => rmSync(join(folder, '..', '..'), { recursive: true, force: true }));

test('a full run gets a page and every plot, each also as a file of its own', () => {
  expect(readdirSync(folder).sort()).toEqual([
    'all-clients.svg',
    'distribution.svg',
    'index.html',
    'one-of-many-clients.svg',
    'round-trip.svg',
    'sizes.svg',
    'targets.md',
    'throughput.svg',
  ]);
  expect(page.match(/<svg /g)).toHaveLength(6);
});

test('page and plots load nothing', () => {
  for (const file of readdirSync(folder)) {
    const text = readFileSync(join(folder, file), 'utf8').replaceAll(/xmlns(:\w+)?="[^"]*"/g, '');
    expect(text).not.toMatch(/https?:|<script|<link|@import|url\((?!#)/);
  }
});

test('what comes from a file is text in the page and no markup', () => {
  expect(page).toContain('Example CPU &lt;1 &amp; 2&gt;');
  expect(page).not.toContain('<1 & 2>');
});

test('targets say their limit, their figure, and whether they are met', () => {
  expect(page).toMatch(/request-64.*at most 1\.10×.*1\.05× of net.*>met</);
  expect(page).toMatch(/idle.*at most 0\.100 %.*0\.200 % of a CPU.*>missed</);
});

test('a peer that was skipped is named with its reason', () => {
  expect(page).toContain('Skipped zeromq: zeromq is not installed.');
});

test('every colour of a plot has a dark form', async () => {
  for (const plot of plotsOf(result)) {
    const svg = await renderPlot(plot);
    const [style = ''] = /<style>.*<\/style>/.exec(svg) ?? [];
    const drawn = svg.replace(style, '').match(/(?:fill|stroke)="#[0-9a-f]+"/g) ?? [];
    expect(drawn.length).toBeGreaterThan(0);
    for (const colour of new Set(drawn)) expect(style).toContain(`[${colour}]`);
  }
});

test('the round-trip plot names every link with its figure', async () => {
  const [plot] = plotsOf(result);
  if (plot === undefined) throw new Error('Expected a plot');
  const svg = await renderPlot(plot);
  for (const text of ['Spanwire unix', '21.0 µs', 'Spanwire memory', '900 ns', 'zeromq', '74.0 µs', '10 µs']) {
    expect(svg).toContain(`>${text}</text>`);
  }
});

test('a plot for which there are no records is left out', () => {
  const records = result.records.filter(({ scenario }) => scenario === 'pipelined-256');
  expect(plotsOf({ ...result, records }).map(({ name }) => name)).toEqual(['throughput']);
});
