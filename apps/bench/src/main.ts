/** `npm run bench`: reads its parameters, runs, prints. */
import { compare } from './compare.ts';
import { Floor } from './floor.ts';
import { describeMachine } from './machine.ts';
import { isTransport } from './links.ts';
import { readOptions, type Options } from './options.ts';
import { twoCpus } from './placement.ts';
import { showProgress } from './progress.ts';
import { nameOf, recordsOf } from './records.ts';
import { readResult, SCHEMA, writeResult, type BenchResult } from './result.ts';
import { run, stepsOf, type RunOptions, type ScenarioResult } from './run.ts';
import type { Scenario } from './scenario.ts';
import { scenarios } from './scenarios.ts';
import { median } from './statistics.ts';
import { comparisonTable, tablesOf } from './table.ts';

// The others end with this process; its files are removed when it exits, and a signal alone would be no exit.
for (const [signal, number] of [
  ['SIGINT', 2],
  ['SIGTERM', 15],
  ['SIGHUP', 1],
] as const) {
  process.once(signal, () => process.exit(128 + number));
}

try {
  const options = readOptions(process.argv.slice(2));
  if (options.list) list();
  else process.exitCode = await bench(options);
} catch (error) {
  if (!(error instanceof TypeError)) throw error;
  console.error(error.message);
  process.exitCode = 2;
}

async function bench(options: Options): Promise<number> {
  // A run takes minutes: what can be wrong about it is found out first.
  const old = options.compare === undefined ? undefined : readResult(options.compare);
  const result = options.from === undefined ? await measure(options) : readResult(options.from);

  if (options.json !== undefined) writeResult(options.json, result);
  if (options.report !== undefined) {
    // Loaded late: drawing takes more code than everything else together.
    const { writeReport } = await import('./report/write-report.ts');
    await writeReport(options.report, result);
  }
  console.log(tablesOf(result));
  const regressed = old !== undefined && printComparison(old, result);
  return regressed || result.failed.length > 0 ? 1 : 0;
}

async function measure(options: Options): Promise<BenchResult> {
  const cpus = options.pin ? twoCpus() : undefined;
  if (options.pin && cpus === undefined) throw new TypeError('Expected two CPUs for --pin, got one');
  const runOptions: RunOptions = {
    scenarios: chosen(options),
    rounds: options.rounds,
    roundMs: options.roundMs,
    warmUpMs: options.roundMs,
    cpus,
    floor: await floorOrNone(),
  };
  const progress = showProgress(stepsOf(runOptions));
  let results: ScenarioResult[];
  try {
    results = await run(runOptions, { onStep: ({ name }, what) => progress.step(`${name}: ${what}`) });
  } finally {
    progress.stop();
  }
  for (const { scenario, cases } of results) {
    for (const one of cases) {
      if (one.outcome === 'failed') console.error(`${scenario.name}: ${nameOf(one.case)}: ${one.reason}`);
    }
  }
  return resultOf(results, options);
}

/** Without a compiler, or off Linux, everything but the floor can be measured. */
async function floorOrNone(): Promise<Floor | undefined> {
  try {
    return await Floor.build();
  } catch (error) {
    console.error(`no floor, and no ratios to it: ${error instanceof Error ? error.message : String(error)}`);
    return undefined;
  }
}

function chosen({ quick, scenario }: Options): Scenario[] {
  return scenarios
    .filter(({ name }) => scenario.length === 0 || scenario.includes(name))
    .map((one) => (quick ? { ...one, cases: one.cases.filter(({ fullOnly }) => fullOnly !== true) } : one))
    .filter(({ cases }) => cases.length > 0);
}

async function resultOf(results: readonly ScenarioResult[], { quick, pin }: Options): Promise<BenchResult> {
  const troubles = results.flatMap(({ scenario, cases }) =>
    cases.flatMap((one) => (one.outcome === 'measured' ? [] : { scenario: scenario.name, ...one })),
  );
  return {
    schema: SCHEMA,
    date: new Date().toISOString(),
    quick,
    pinned: pin,
    machine: await describeMachine(),
    clockNs: median(results.map(({ clockNs }) => clockNs)),
    records: results.flatMap(recordsOf),
    skipped: troubles
      .filter(({ outcome }) => outcome === 'skipped')
      .map(({ scenario, case: { link }, reason }) => ({ scenario, peer: link, reason })),
    failed: troubles
      .filter(({ outcome }) => outcome === 'failed')
      .map(({ scenario, case: { link } }) => ({
        scenario,
        transport: isTransport(link) ? link : null,
        peer: isTransport(link) ? null : link,
      })),
  };
}

function printComparison(old: BenchResult, now: BenchResult): boolean {
  const comparison = compare(old, now);
  console.log(`\n${comparisonTable(comparison)}`);
  const { regressions } = comparison;
  console.log(regressions.length === 0 ? 'no regressions' : `${regressions.length} regressions`);
  return regressions.length > 0;
}

function list(): void {
  for (const { name, title, cases } of scenarios) {
    console.log(`${name}\n  ${title}`);
    console.log(`  full:  ${cases.map(nameOf).join(', ')}`);
    const quick = cases.filter(({ fullOnly }) => fullOnly !== true);
    if (quick.length > 0) console.log(`  quick: ${quick.map(nameOf).join(', ')}`);
  }
}
