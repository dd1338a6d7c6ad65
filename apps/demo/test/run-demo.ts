/** Starts the real program, and knows what it prints. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const MAIN = fileURLToPath(new URL('../dist/main.js', import.meta.url));

export interface Summary {
  transport: string;
  clients: number;
  files: number;
  bytes: number;
  mismatches: number;
  seconds: number;
  errors: number;
}

export interface Outcome {
  readonly status: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly lines: readonly string[];
  readonly stderr: string;
  /** The last line of a run with `--json`. */
  readonly summary: Summary;
}

export interface Run {
  /** Of the main process, and of its process group. */
  readonly pid: number;
  /** Waits for a line, or for as many as `count`. Rejects when the program ends without. */
  line(pattern: RegExp, count?: number): Promise<RegExpExecArray>;
  readonly outcome: Promise<Outcome>;
}

export interface RunOptions {
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string>>;
  /** A module of the folder `fixtures` that every process of the run loads first. */
  readonly fixture?: string;
  /** Gives it a terminal, with the `script` of util-linux. */
  readonly terminal?: boolean;
}

export function startDemo(parameters: readonly string[], options: RunOptions = {}): Run {
  const command = [process.execPath, MAIN, ...parameters];
  const [program = '', ...rest] = options.terminal === true ? inTerminal(command) : command;
  const child = spawn(program, rest, {
    cwd: options.cwd,
    env: environment(options),
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
  });
  const lines: string[] = [];
  let stderr = '';
  const waiting = new Set<() => void>();
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  const reader = createInterface(child.stdout).on('line', (line) => {
    lines.push(line);
    for (const look of waiting) look();
  });
  const outcome = Promise.all([once(child, 'close'), once(reader, 'close')]).then(([[status, signal]]) => ({
    status: status as number | null,
    signal: signal as NodeJS.Signals | null,
    lines,
    stderr,
    get summary() {
      return JSON.parse(lines.at(-1) ?? '') as Summary;
    },
  }));
  return {
    pid: child.pid!,
    line: (pattern, count = 1) =>
      new Promise((resolve, reject) => {
        const look = (): void => {
          const found = lines.map((line) => pattern.exec(line)).filter((match) => match !== null)[count - 1];
          if (found !== undefined) resolve(found);
        };
        waiting.add(look);
        look();
        void outcome.then(() => reject(new Error(`Expected a line like ${pattern}, got ${lines.join('\n')}${stderr}`)));
      }),
    outcome,
  };
}

export function runDemo(parameters: readonly string[], options?: RunOptions): Promise<Outcome> {
  return startDemo(parameters, options).outcome;
}

/** The processes of a run, from the line that names them. */
export async function processesOf(run: Run): Promise<{ server: number; clients: number[] }> {
  const [, server, clients = ''] = await run.line(/^server: process (\d+); clients: processes (.*)$/);
  return { server: Number(server), clients: clients.split(', ').map(Number) };
}

/** That of this process, without what npm and vitest add for theirs. */
function environment({ env, fixture }: RunOptions): NodeJS.ProcessEnv {
  const outer = { ...process.env };
  delete outer['npm_lifecycle_event'];
  delete outer['NODE_OPTIONS'];
  if (fixture !== undefined) outer['NODE_OPTIONS'] = `--import=${new URL(`fixtures/${fixture}`, import.meta.url).href}`;
  return { ...outer, ...env };
}

function inTerminal(command: readonly string[]): string[] {
  const quoted = command.map((word) => `'${word.replaceAll("'", `'\\''`)}'`).join(' ');
  return ['script', '--quiet', '--return', '--command', `stty cols 100; exec ${quoted}`, '/dev/null'];
}
