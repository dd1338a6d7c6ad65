/** A run: scenario after scenario, and in each the cases and the floor in turns. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { ClientProcess } from './client-process.ts';
import type { Floor, FloorFigures } from './floor.ts';
import { cpuOf, cpuUseOf, pin } from './placement.ts';
import type { Case, Scenario } from './scenario.ts';
import { median } from './statistics.ts';
import type { Measured } from './worker/control.ts';

export interface RunOptions {
  readonly scenarios: readonly Scenario[];
  readonly rounds: number;
  /** How long one measurement of a scenario without `patience` takes. */
  readonly roundMs: number;
  /** How long each case runs at least before anything counts. */
  readonly warmUpMs: number;
  /** Client and server get one of these each; undefined: as the scheduler likes. */
  readonly cpus: readonly [number, number] | undefined;
  readonly floor: Floor | undefined;
}

/** One case in one round. */
export interface RoundFigures extends Measured {
  /** CPU time of client and server together, as a share of one CPU, and how often one of their threads woke; while idle. */
  readonly cpuShare: number | null;
  readonly wakeUpsPerSecond: number | null;
  /** Where the main threads ran last. */
  readonly clientCpu: number | null;
  readonly serverCpu: number | null;
}

export type CaseResult =
  | { readonly case: Case; readonly outcome: 'measured'; readonly rounds: readonly RoundFigures[] }
  | { readonly case: Case; readonly outcome: 'skipped' | 'failed'; readonly reason: string };

export interface ScenarioResult {
  readonly scenario: Scenario;
  /** One per round; null where this machine cannot have a floor. */
  readonly floors: readonly (FloorFigures | null)[];
  readonly cases: readonly CaseResult[];
  /** A reading of the clock in the median client: each takes its own off each latency. */
  readonly clockNs: number;
}

export interface RunListener {
  onStep(scenario: Scenario, what: string): void;
}

/** How many processes start at a time. */
const STARTING = 3;
/** Of a measurement's time, for the same thing uncounted just before it. */
const LEAD_IN_SHARE = 0.1;
/** Warming up ends with so many messages, or after so many times `warmUpMs`. */
const WARM_MESSAGES = 20_000;
const MAX_WARM_UPS = 4;
/** After this, nobody has anything left to do. */
const SETTLE_MS = 100;

/** Servers that start at this very moment may still put a socket there. */
const REMOVAL = { recursive: true, force: true, maxRetries: 10 } as const;

/** Steps that {@link run} reports. */
export function stepsOf({ scenarios, rounds }: Pick<RunOptions, 'scenarios' | 'rounds'>): number {
  return scenarios.reduce((steps, { cases, repetitions = 1 }) => steps + repetitions * cases.length * (rounds + 1), 0);
}

export async function run(options: RunOptions, listener: RunListener): Promise<ScenarioResult[]> {
  const folder = mkdtempSync(join(tmpdir(), 'spanwire-bench-'));
  const removeFolder = (): void => rmSync(folder, REMOVAL);
  process.once('exit', removeFolder);
  try {
    const results: ScenarioResult[] = [];
    for (const [index, scenario] of options.scenarios.entries()) {
      results.push(await runScenario(scenario, options, join(folder, String(index)), listener));
    }
    return results;
  } finally {
    removeFolder();
    process.off('exit', removeFolder);
  }
}

/** A case while its scenario runs. */
interface Entry {
  readonly case: Case;
  readonly rounds: RoundFigures[];
  client: ClientProcess | undefined;
  trouble: { readonly outcome: 'skipped' | 'failed'; readonly reason: string } | undefined;
}

async function runScenario(
  scenario: Scenario,
  options: RunOptions,
  folder: string,
  listener: RunListener,
): Promise<ScenarioResult> {
  const entries = scenario.cases.map((one): Entry => ({
    case: one,
    rounds: [],
    client: undefined,
    trouble: undefined,
  }));
  const floors: (FloorFigures | null)[] = [];
  for (let repetition = 0; repetition < (scenario.repetitions ?? 1); repetition++) {
    await runRounds(scenario, entries, floors, options, join(folder, String(repetition)), listener);
  }
  const cases = entries.map(({ case: one, rounds, trouble }): CaseResult =>
    trouble === undefined ? { case: one, outcome: 'measured', rounds } : { case: one, ...trouble },
  );
  return { scenario, floors, cases, clockNs: median(entries.flatMap(({ client }) => client?.clockNs ?? [])) };
}

/** All rounds of a scenario, with new processes. */
async function runRounds(
  scenario: Scenario,
  entries: readonly Entry[],
  floors: (FloorFigures | null)[],
  options: RunOptions,
  folder: string,
  listener: RunListener,
): Promise<void> {
  const ms = options.roundMs * (scenario.patience ?? 1);
  try {
    await startAll(entries, options, folder, (entry) => listener.onStep(scenario, entry.case.link));
    for (const entry of entries) {
      await attempt(entry, (client) => warmUp(entry.case, client, options.warmUpMs));
    }
    for (let round = 0; round < options.rounds; round++) {
      floors.push((await measureFloor(scenario, options)) ?? null);
      // Each begins a round in its turn: whoever follows the floor finds the machine as the floor left it.
      const first = round % entries.length;
      for (const entry of [...entries.slice(first), ...entries.slice(0, first)]) {
        await attempt(entry, async (client) => {
          entry.rounds.push(await measureCase(entry.case, client, ms));
        });
        listener.onStep(scenario, entry.case.link);
      }
    }
  } finally {
    await Promise.all(entries.flatMap(({ client }) => client?.end() ?? []));
  }
}

async function startAll(
  entries: readonly Entry[],
  { cpus }: RunOptions,
  folder: string,
  onStarted: (entry: Entry) => void,
): Promise<void> {
  const waiting = entries.entries();
  const starter = async (): Promise<void> => {
    for (const [index, entry] of waiting) {
      const { link, workload } = entry.case;
      try {
        const started = await ClientProcess.start(link, workload, join(folder, String(index)));
        if (typeof started === 'string') {
          entry.trouble = { outcome: 'skipped', reason: started };
        } else {
          entry.client = started;
          // Once they run: a process that starts with one CPU would plan for one.
          if (cpus !== undefined) await pinBoth(started, cpus);
        }
      } catch (error) {
        entry.trouble = { outcome: 'failed', reason: String(error) };
      }
      onStarted(entry);
    }
  };
  await Promise.all(Array.from({ length: STARTING }, starter));
}

async function pinBoth(
  { clientPid, serverPid }: ClientProcess,
  [first, second]: readonly [number, number],
): Promise<void> {
  if (serverPid === null) return;
  await pin(clientPid, first);
  await pin(serverPid, second);
}

/** What fails once is not tried again, and takes no others with it. */
async function attempt(entry: Entry, action: (client: ClientProcess) => Promise<void>): Promise<void> {
  if (entry.client === undefined || entry.trouble !== undefined) return;
  try {
    await action(entry.client);
  } catch (error) {
    entry.trouble = { outcome: 'failed', reason: String(error) };
  }
}

/** So long as it takes the compilers of both sides, which count calls and not time; on a busy machine that takes longer. */
async function warmUp(one: Case, client: ClientProcess, ms: number): Promise<void> {
  if (measuresItself(one)) return;
  let messages = 0;
  for (let turn = 0; turn < MAX_WARM_UPS && messages < WARM_MESSAGES; turn++) {
    const { perSecond } = await client.warmUp(ms);
    if (perSecond === null) return;
    messages += (perSecond * ms) / 1000;
  }
}

/** Whether measuring changes what is measured, so that nothing may be measured beforehand. */
function measuresItself({ figure }: Case): boolean {
  return figure === 'memory';
}

async function measureCase(one: Case, client: ClientProcess, ms: number): Promise<RoundFigures> {
  const figures =
    one.figure === 'cpu'
      ? await measureIdle(client, ms)
      : {
          ...(await client.measure(ms, measuresItself(one) ? 0 : ms * LEAD_IN_SHARE)),
          cpuShare: null,
          wakeUpsPerSecond: null,
        };
  return {
    ...figures,
    clientCpu: cpuOf(client.clientPid),
    serverCpu: client.serverPid === null ? null : cpuOf(client.serverPid),
  };
}

/** Looks at the processes from outside: asking them would wake them. */
async function measureIdle(
  { clientPid, serverPid }: ClientProcess,
  ms: number,
): Promise<Omit<RoundFigures, 'clientCpu' | 'serverCpu'>> {
  const pids = [clientPid, ...(serverPid === null ? [] : [serverPid])];
  await sleep(SETTLE_MS);
  const beginMs = performance.now();
  const before = pids.map(cpuUseOf);
  await sleep(ms);
  const after = pids.map(cpuUseOf);
  const seconds = (performance.now() - beginMs) / 1000;
  let ns = 0;
  let wakeUps = 0;
  for (const [index, use] of after.entries()) {
    const earlier = before[index];
    if (use === null || earlier === null || earlier === undefined) {
      return { latency: null, perSecond: null, bytesPerClient: null, cpuShare: null, wakeUpsPerSecond: null };
    }
    ns += use.ns - earlier.ns;
    wakeUps += use.wakeUps - earlier.wakeUps;
  }
  return {
    latency: null,
    perSecond: null,
    bytesPerClient: null,
    cpuShare: ns / 1e9 / seconds,
    wakeUpsPerSecond: wakeUps / seconds,
  };
}

function measureFloor(scenario: Scenario, { floor, cpus }: RunOptions): Promise<FloorFigures> | undefined {
  const names = scenario.cases.map((one) => one.floor).filter((name) => name !== null);
  const bytes = scenario.cases.map(({ workload }) => (workload.kind === 'large' ? workload.bytes : 0));
  return floor?.measure({ names, copyBytes: Math.max(...bytes) || 2 ** 20, cpus });
}
