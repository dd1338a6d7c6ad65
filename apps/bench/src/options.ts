import { resolve } from 'node:path';
import { Command, InvalidArgumentError, Option } from 'commander';
import { scenarios } from './scenarios.ts';

export interface Options {
  readonly quick: boolean;
  readonly scenario: readonly string[];
  readonly list: boolean;
  readonly pin: boolean;
  readonly rounds: number;
  readonly roundMs: number;
  readonly json: string | undefined;
  readonly report: string | undefined;
  readonly compare: string | undefined;
  readonly from: string | undefined;
}

/** Fewer would say nothing about noise. */
const MIN_ROUNDS = 5;
const FULL = { rounds: 7, roundMs: 250 };
const QUICK = { rounds: 5, roundMs: 60 };

/** Prints help or a complaint and ends the process where there is nothing to run. */
export function readOptions(parameters: readonly string[]): Options {
  const program = new Command('npm run bench --')
    .description(
      'Measures Spanwire against what one would use instead, and against what this machine can do.\n' +
        'Exit code: 0; 1 when something failed or a regression was found; 2 for wrong parameters.',
    )
    .option('--quick', 'the scenarios that have targets, in less than a minute', false)
    .option('--scenario <name...>', 'only these; see --list')
    .option('--list', 'names the scenarios and what is measured in each', false)
    .option('--pin', 'gives client and server a CPU each, with taskset', false)
    .option('--json <file>', 'writes all figures there')
    .option('--report <folder>', 'writes an HTML page and its plots there')
    .option('--compare <file>', 'names regressions since that run')
    .option('--from <file>', 'measures nothing: takes the figures of that run')
    .addOption(new Option('--rounds <number>', `at least ${MIN_ROUNDS}`).argParser(integerFrom(MIN_ROUNDS)))
    .addOption(new Option('--round-ms <number>', 'time of one measurement').argParser(integerFrom(1)))
    .exitOverride((error) => process.exit(error.exitCode === 0 ? 0 : 2));
  program.parse(parameters, { from: 'user' });
  const given = program.opts<Given>();
  for (const name of given.scenario ?? []) {
    if (!scenarios.some((scenario) => scenario.name === name)) {
      program.error(`error: Expected --scenario to be a name out of --list, got ${name}`);
    }
  }
  const defaults = given.quick ? QUICK : FULL;
  return {
    quick: given.quick,
    scenario: given.scenario ?? [],
    list: given.list,
    pin: given.pin,
    rounds: given.rounds ?? defaults.rounds,
    roundMs: given.roundMs ?? defaults.roundMs,
    json: fromHere(given.json),
    report: fromHere(given.report),
    compare: fromHere(given.compare),
    from: fromHere(given.from),
  };
}

interface Given {
  quick: boolean;
  scenario?: string[];
  list: boolean;
  pin: boolean;
  rounds?: number;
  roundMs?: number;
  json?: string;
  report?: string;
  compare?: string;
  from?: string;
}

function integerFrom(smallest: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (Number.isInteger(value) && value >= smallest) return value;
    throw new InvalidArgumentError(`Expected an integer of at least ${smallest}.`);
  };
}

/** npm runs its scripts in the folder of package.json, and tells where the user is. */
function fromHere(path: string | undefined): string | undefined {
  if (path === undefined) return undefined;
  const here = process.env['npm_lifecycle_event'] === 'bench' ? process.env['INIT_CWD'] : undefined;
  return resolve(here ?? process.cwd(), path);
}
