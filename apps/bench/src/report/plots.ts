/** What is drawn, as vega-lite specifications. */
import { bareName, isTransport, type LinkName } from '../links.ts';
import { CDF_SHARES, type BenchRecord, type BenchResult } from '../result.ts';
import { labelOf } from '../rows.ts';
import { formatNs, formatRate } from '../units.ts';
import { colourOf, foreground, gridLine, muted } from './theme.ts';

export interface Plot {
  /** The name of its file. */
  readonly name: string;
  readonly title: string;
  /** How to read it. */
  readonly caption: string;
  /** A vega-lite specification; its own type takes nothing that is `readonly`. */
  readonly spec: object;
}

/** Narrow: on a phone a plot is shown at about three quarters of it, and has to be legible. */
const WIDTH = 430;
/** A line of text, and what is drawn below it. */
const ROW = 34;
const TEXT_OFFSET = -7;
const DRAWING_OFFSET = 8;
const CHART_HEIGHT = 300;

/** Those plots for which the run has records. */
export function plotsOf({ records }: BenchResult): Plot[] {
  return [roundTrips(records), distribution(records), throughput(records), sizes(records), ...scaling(records)].flatMap(
    (plot) => plot ?? [],
  );
}

function roundTrips(records: readonly BenchRecord[]): Plot | undefined {
  const rows = inScenario(records, 'request-64')
    .filter(({ p50Ns, p99Ns }) => p50Ns !== null && p99Ns !== null)
    .sort((a, b) => (a.p50Ns ?? 0) - (b.p50Ns ?? 0));
  if (rows.length === 0) return undefined;
  const floorNs = floorOf(rows);
  const values = rows.map((record) => ({
    ...common(record),
    p50: record.p50Ns,
    p99: record.p99Ns,
    text: formatNs(record.p50Ns),
  }));
  const x = nanosecondScale(values.flatMap(({ p50, p99 }) => [p50 ?? 1, p99 ?? 1]).concat(floorNs ?? []));
  const yOffset = DRAWING_OFFSET;
  return {
    name: 'round-trip',
    title: 'A request of 64 bytes and its answer',
    caption:
      'From the median (dot) to what one in a hundred exceeds (tick), on a logarithmic axis: left is better.' +
      (floorNs === undefined ? '' : ` The dashed line is the floor, ${formatNs(floorNs)}: two native processes.`) +
      aboutBare(rows),
    spec: {
      ...base(ROW * values.length + 40),
      data: { values },
      encoding: { y: rowPosition },
      layer: [
        ...floorRule(floorNs),
        {
          mark: { type: 'rule', strokeWidth: 2, opacity: 0.55, yOffset },
          encoding: { x: { ...x, field: 'p50' }, x2: { field: 'p99' }, color: rawColour },
        },
        {
          mark: { type: 'tick', thickness: 2, size: 10, yOffset },
          encoding: { x: { ...x, field: 'p99' }, color: rawColour },
        },
        {
          mark: { type: 'point', filled: true, size: 90, opacity: 1, yOffset },
          encoding: { x: { ...x, field: 'p50' }, color: rawColour },
        },
        ...rowTexts,
      ],
    },
  };
}

function aboutBare(rows: readonly BenchRecord[]): string {
  return rows.some(({ peer }) => peer === bareName)
    ? ` “${bareName}” is what JavaScript reaches with the rings of shared memory and nothing above them.`
    : '';
}

function distribution(records: readonly BenchRecord[]): Plot | undefined {
  const rows = inScenario(records, 'request-64').filter(({ cdfNs }) => cdfNs !== null);
  if (rows.length === 0) return undefined;
  const values = rows.flatMap((record) =>
    (record.cdfNs ?? []).map((ns, index) => ({ ...common(record), ns, share: CDF_SHARES[index] ?? 1 })),
  );
  return {
    name: 'distribution',
    title: 'How long a request of 64 bytes takes, all of them',
    caption: 'The share of round trips that took at most so long: the further left and the steeper, the better.',
    spec: {
      ...base(CHART_HEIGHT + legendHeight(rows)),
      data: { values },
      mark: { type: 'line', strokeWidth: 2 },
      encoding: {
        x: { ...nanosecondScale(values.map(({ ns }) => ns)), field: 'ns' },
        y: { field: 'share', type: 'quantitative', axis: { ...axis, format: '%', title: null } },
        color: colourLegend(rows),
        order: { field: 'share', type: 'quantitative' },
      },
    },
  };
}

function throughput(records: readonly BenchRecord[]): Plot | undefined {
  const rows = inScenario(records, 'pipelined-256')
    .filter(({ perSecond }) => perSecond !== null)
    .sort((a, b) => (b.perSecond ?? 0) - (a.perSecond ?? 0));
  if (rows.length === 0) return undefined;
  const values = rows.map((record) => ({
    ...common(record),
    perSecond: record.perSecond,
    text: formatRate(record.perSecond),
  }));
  const x = {
    field: 'perSecond',
    type: 'quantitative',
    axis: { ...axis, title: null, labelExpr: PER_SECOND, tickCount: 5 },
  } as const;
  return {
    name: 'throughput',
    title: 'Requests of 64 bytes per second, 256 under way',
    caption: `Longer is better. “promise” and “observable” say how the client is written.${aboutBare(rows)}`,
    spec: {
      ...base(ROW * values.length + 40),
      data: { values },
      encoding: { y: rowPosition },
      layer: [
        { mark: { type: 'bar', height: 10, yOffset: DRAWING_OFFSET }, encoding: { x, color: rawColour } },
        ...rowTexts,
      ],
    },
  };
}

function sizes(records: readonly BenchRecord[]): Plot | undefined {
  const rows = records.filter(
    ({ scenario, variant, p50Ns }) => /^request-\d+k?$/.test(scenario) && variant === '' && p50Ns !== null,
  );
  const values = rows.map((record) => ({ ...common(record), bytes: record.bytes, ns: record.p50Ns }));
  const all = [...new Set(values.map(({ bytes }) => bytes ?? 0))];
  if (all.length < 2) return undefined;
  return {
    name: 'sizes',
    title: 'Median round trip by size of the message',
    caption: 'The message goes there and comes back. Both axes are logarithmic: lower is better.',
    spec: {
      ...base(CHART_HEIGHT + legendHeight(rows)),
      data: { values },
      mark: { type: 'line', point: { size: 45 }, strokeWidth: 2 },
      encoding: {
        x: { ...logScale(all), field: 'bytes', axis: { ...axis, title: null, values: all, labelExpr: BYTES } },
        y: { ...nanosecondScale(values.map(({ ns }) => ns ?? 1)), field: 'ns' },
        color: colourLegend(rows),
      },
    },
  };
}

function scaling(records: readonly BenchRecord[]): (Plot | undefined)[] {
  const one = inScenario(records, 'clients-one').filter(({ p50Ns }) => p50Ns !== null);
  const all = inScenario(records, 'clients-all').filter(({ perSecond }) => perSecond !== null);
  const counts = [...new Set([...one, ...all].map(({ clients }) => clients))];
  const x = {
    ...logScale(counts),
    field: 'clients',
    axis: { ...axis, title: 'clients', values: counts, format: 'd' },
  } as const;
  const plot = (rows: BenchRecord[], about: Pick<Plot, 'name' | 'title' | 'caption'>, y: object): Plot | undefined => {
    if (new Set(rows.map(({ clients }) => clients)).size < 2) return undefined;
    const values = rows.map((record) => ({
      ...common(record),
      clients: record.clients,
      ns: record.p50Ns,
      perSecond: record.perSecond,
    }));
    return {
      ...about,
      spec: {
        ...base(CHART_HEIGHT + legendHeight(rows)),
        data: { values },
        mark: { type: 'line', point: { size: 45 }, strokeWidth: 2 },
        encoding: { x, y, color: colourLegend(rows) },
      },
    };
  };
  return [
    plot(
      one,
      {
        name: 'one-of-many-clients',
        title: 'Median round trip of one client among many',
        caption: 'The others are connected and idle. Flat is best: who does nothing costs nothing.',
      },
      {
        field: 'ns',
        type: 'quantitative',
        scale: { zero: true },
        axis: { ...axis, title: null, labelExpr: NANOSECONDS },
      },
    ),
    plot(
      all,
      {
        name: 'all-clients',
        title: 'Requests per second of all clients together',
        caption: 'Each sends 64 bytes, waits for the answer, and sends again. Higher is better.',
      },
      { field: 'perSecond', type: 'quantitative', axis: { ...axis, title: null, labelExpr: PER_SECOND } },
    ),
  ];
}

/** Axis labels as vega expressions. */
const NANOSECONDS =
  "datum.value < 1e3 ? datum.value + ' ns' : datum.value < 1e6 ? datum.value / 1e3 + ' µs' : datum.value / 1e6 + ' ms'";
const PER_SECOND =
  "datum.value == 0 ? '0' : datum.value < 1e6 ? datum.value / 1e3 + ' k/s' : datum.value / 1e6 + ' M/s'";
const BYTES = "datum.value < 1024 ? datum.value + ' B' : datum.value / 1024 + ' KiB'";

const axis = {
  labelColor: muted.light,
  titleColor: muted.light,
  labelFontSize: 12,
  titleFontSize: 12,
  titleFontWeight: 'normal',
  gridColor: gridLine.light,
  domainColor: gridLine.light,
  tickColor: gridLine.light,
  // Its own idea of how wide a text is comes without fonts, and is far too large.
  labelOverlap: false,
  labelLimit: 0,
} as const;

/** One row below the other, as they come. */
const rowPosition = { field: 'label', type: 'nominal', sort: null, axis: null } as const;

/** The name of a row to the left and its figure to the right, above what is drawn. */
const rowTexts = [
  rowText({ align: 'left' }, 'label', 0),
  rowText({ align: 'right', fontWeight: 'bold' }, 'text', 'width'),
];

function rowText(mark: object, field: string, x: number | 'width'): object {
  return {
    mark: { type: 'text', yOffset: TEXT_OFFSET, fontSize: 12, color: foreground.light, ...mark },
    encoding: { x: { value: x }, text: { field } },
  };
}

const rawColour = { field: 'colour', type: 'nominal', scale: null } as const;

function base(height: number): { width: number; height: number; autosize: object; background: null; config: object } {
  return {
    width: WIDTH,
    height,
    autosize: { type: 'fit', contains: 'padding' },
    background: null,
    config: { font: 'system-ui, sans-serif', view: { stroke: null } },
  };
}

function inScenario(records: readonly BenchRecord[], name: string): BenchRecord[] {
  return records.filter(({ scenario }) => scenario === name);
}

/** The median over everything measured beside it. */
function floorOf(records: readonly BenchRecord[]): number | undefined {
  const [first] = records;
  const floors = (first?.perRound ?? []).flatMap(({ floorNs }) => floorNs ?? []).sort((a, b) => a - b);
  return floors[floors.length >> 1];
}

function floorRule(floorNs: number | undefined): object[] {
  if (floorNs === undefined) return [];
  return [
    {
      data: { values: [{ floor: floorNs }] },
      mark: { type: 'rule', strokeDash: [4, 4] },
      encoding: {
        x: { field: 'floor', type: 'quantitative' },
        y: { value: 0 },
        y2: { value: 'height' },
        color: { value: muted.light },
      },
    },
  ];
}

function common(record: BenchRecord): { label: string; link: string; colour: string } {
  const link = record.transport ?? record.peer ?? '';
  return { label: labelOf(record), link: nameInLegend(link), colour: colourOf(link) };
}

function nameInLegend(link: string): string {
  return isTransport(link as LinkName) ? `Spanwire ${link}` : link;
}

/** In the order of the records, under the plot. */
function colourLegend(records: readonly BenchRecord[]): object {
  const links = linksOf(records);
  return {
    field: 'link',
    type: 'nominal',
    scale: { domain: links.map(nameInLegend), range: links.map(colourOf) },
    legend: {
      orient: 'bottom',
      columns: 2,
      // As above: columns are thought to be wider than they are, and the second one would leave the plot.
      columnPadding: -45,
      title: null,
      symbolType: 'stroke',
      symbolStrokeWidth: 3,
      labelColor: foreground.light,
      labelFontSize: 11,
      labelLimit: 0,
    },
  };
}

function legendHeight(records: readonly BenchRecord[]): number {
  return Math.ceil(linksOf(records).length / 2) * 18;
}

function linksOf(records: readonly BenchRecord[]): string[] {
  return [...new Set(records.map(({ transport, peer }) => transport ?? peer ?? ''))];
}

function logScale(values: readonly number[]): { type: 'quantitative'; scale: object } {
  return { type: 'quantitative', scale: { type: 'log', domain: [Math.min(...values), Math.max(...values)] } };
}

/** From one power of ten to another, and nothing but those on the axis. */
function nanosecondScale(values: readonly number[]): { type: 'quantitative'; scale: object; axis: object } {
  const first = Math.floor(Math.log10(Math.min(...values)));
  const last = Math.ceil(Math.log10(Math.max(...values)));
  const powers = Array.from({ length: last - first + 1 }, (_, i) => 10 ** (first + i));
  return {
    type: 'quantitative',
    scale: { type: 'log', domain: [10 ** first, 10 ** last] },
    axis: { ...axis, title: null, values: powers, labelExpr: NANOSECONDS },
  };
}
