/** The commands of `spanwire-command`. */
import { Command, CommanderError, InvalidArgumentError } from 'commander';
import { text as readAll } from 'node:stream/consumers';
import { EXIT_CODES_HELP, EXIT_OK, EXIT_USAGE, exitCodeOf, explain, UsageError } from './failure.ts';
import { formatJson, parseValue } from './json-text.ts';
import { formatDescription, formatList, formatResult, writeLine, type Streams } from './output.ts';
import { Remote } from './remote.ts';

const NAME = 'spanwire-command';
const DEFAULT_TIMEOUT_MS = 5_000;
const MAX_TIMEOUT_MS: number = 2 ** 31 - 1;

const COMMANDS: ReadonlySet<string> = new Set(['call', 'describe', 'help', 'list', 'watch']);

interface Common {
  readonly timeout?: number;
  readonly json?: boolean;
  readonly raw?: boolean;
  readonly count?: number;
}

/** Runs the program with `argv` (without node and script). Resolves with its exit code. */
export async function run(argv: readonly string[], version: string, streams: Streams): Promise<number> {
  const [first] = argv;
  // The address comes before the command, which commander has no word for. A file that is called like a command is ./list.
  const hasAddress = first !== undefined && !first.startsWith('-') && !COMMANDS.has(first);
  const program = makeProgram(hasAddress ? first : '', version, streams);
  try {
    const asksForHelp = first === 'help' || argv.includes('--help') || argv.includes('-h');
    if (first !== undefined && COMMANDS.has(first) && !asksForHelp) {
      throw new UsageError(`Expected an address before the command, got ${first} first, see ${NAME} --help`);
    }
    await program.parseAsync(hasAddress ? argv.slice(1) : argv, { from: 'user' });
    return EXIT_OK;
  } catch (error) {
    // Commander has said it already; it calls help that was asked for an error, too.
    if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT_OK : EXIT_USAGE;
    await writeLine(streams.stderr, `${NAME}: ${explain(error)}`);
    return exitCodeOf(error);
  }
}

function makeProgram(address: string, version: string, streams: Streams): Command {
  const { stdout } = streams;
  const people = stdout.isTTY === true;
  const program = new Command(NAME)
    .usage('<address> <command> [options]')
    .description(
      'Asks a running command server what it can do, and tells it to.\n\n' +
        'The address is unix:/path, a path, pipe:name, tcp:host:port or shm:name.',
    )
    .version(version)
    .exitOverride()
    .configureOutput({
      writeOut: (text) => void stdout.write(text),
      writeErr: (text) => void streams.stderr.write(text),
    })
    .addHelpText(
      'after',
      `${EXIT_CODES_HELP}

Examples:
  ${NAME} /run/user/1000/stack.sock list
  ${NAME} /run/user/1000/stack.sock call add '{"a": 5, "b": 3}'
  echo '{"a": 5, "b": 3}' | ${NAME} /run/user/1000/stack.sock call add -
  ${NAME} /run/user/1000/stack.sock watch ticks --count 10 | head -3`,
    );

  program
    .command('list')
    .description('name, kind and description of every command; with tabs between when piped')
    .option('--json', 'the whole description, with JSON Schemas')
    .addOption(timeoutOption(program, DEFAULT_TIMEOUT_MS))
    .action(async ({ json, timeout }: Common) => {
      const description = await Remote.with(address, timeout, (remote) => remote.describe());
      if (json === true) await writeLine(stdout, formatJson(description, people ? 2 : 0));
      else for (const line of formatList(description, people)) await writeLine(stdout, line);
    });

  program
    .command('describe')
    .description('what a command takes and gives')
    .argument('<command>')
    .option('--json', 'as JSON')
    .addOption(timeoutOption(program, DEFAULT_TIMEOUT_MS))
    .action(async (name: string, { json, timeout }: Common) => {
      const command = await Remote.with(address, timeout, (remote) => remote.describeCommand(name));
      if (json === true) await writeLine(stdout, formatJson({ name, ...command }, people ? 2 : 0));
      else for (const line of formatDescription(name, command)) await writeLine(stdout, line);
    });

  program
    .command('call')
    .description('runs a command and prints its answer as JSON')
    .argument('<command>')
    .argument('[json]', 'the payload; - reads it from standard input')
    .option('--raw', 'print an answer that is text or bytes as it is')
    .addOption(timeoutOption(program, DEFAULT_TIMEOUT_MS))
    .action(async (name: string, json: string | undefined, { raw, timeout }: Common) => {
      const payload = await readPayload(json, streams);
      const answer = await Remote.with(address, timeout, (remote) => remote.call(name, payload));
      // An acknowledgement has nothing to print.
      if (answer !== undefined) await writeLine(stdout, formatResult(answer, { raw: raw === true, people }));
    });

  program
    .command('watch')
    .description('prints the items of a stream, one line of JSON each, until it ends')
    .argument('<stream>')
    .argument('[json]', 'the payload; - reads it from standard input')
    .option('--count <n>', 'stop after so many items', positiveInteger)
    .option('--raw', 'print items that are text or bytes as they are')
    .addOption(timeoutOption(program, undefined))
    .action(async (name: string, json: string | undefined, { raw, timeout, count = Infinity }: Common) => {
      const payload = await readPayload(json, streams);
      await Remote.with(address, timeout, async (remote) => {
        let seen = 0;
        for await (const item of remote.watch(name, payload)) {
          await writeLine(stdout, formatResult(item, { raw: raw === true, people: false }));
          if (++seen === count) break;
        }
      });
    });

  return program;
}

function timeoutOption(program: Command, fallback: number | undefined) {
  const option = program
    .createOption('--timeout <ms>', 'give up after so many milliseconds, with connecting')
    .argParser(milliseconds);
  return fallback === undefined ? option : option.default(fallback);
}

/** `text` as JSON, or all of standard input for "-". */
async function readPayload(text: string | undefined, { stdin }: Streams): Promise<unknown> {
  if (text === undefined) return undefined;
  const json = text === '-' ? await readAll(stdin) : text;
  try {
    return parseValue(json);
  } catch (error) {
    throw new UsageError(
      `Expected the payload to be JSON, got ${JSON.stringify(json.slice(0, 60))}: ${explain(error)}`,
    );
  }
}

function milliseconds(text: string): number {
  const value = Number(text);
  if (!/^\d+$/.test(text) || value > MAX_TIMEOUT_MS) {
    throw new InvalidArgumentError(`Expected milliseconds from 0 to ${MAX_TIMEOUT_MS}.`);
  }
  return value;
}

function positiveInteger(text: string): number {
  const value = Number(text);
  if (!/^\d+$/.test(text) || value < 1 || !Number.isSafeInteger(value)) {
    throw new InvalidArgumentError('Expected an integer from 1.');
  }
  return value;
}
