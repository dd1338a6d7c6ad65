import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';

const program = fileURLToPath(new URL('../dist/main.js', import.meta.url));
const offLinux = new URL('fixtures/off-linux.mjs', import.meta.url).href;
const withoutPackage = new URL('fixtures/without-package.mjs', import.meta.url).href;

export interface Ended {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export async function bench(parameters: readonly string[], environment: NodeJS.ProcessEnv = {}): Promise<Ended> {
  const child = spawn(process.execPath, [program, ...parameters], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, ...environment },
  });
  const [[status], stdout, stderr] = await Promise.all([once(child, 'close'), text(child.stdout), text(child.stderr)]);
  return { status: status as number | null, stdout, stderr };
}

/** As if a package was not installed. */
export function benchWithout(missing: string, parameters: readonly string[]): Promise<Ended> {
  return bench(parameters, { NODE_OPTIONS: `--import=${withoutPackage}`, WITHOUT: missing });
}

/** As if this was another system than Linux. */
export function benchOffLinux(parameters: readonly string[]): Promise<Ended> {
  return bench(parameters, { NODE_OPTIONS: `--import=${offLinux}` });
}

export function startBench(parameters: readonly string[], environment: NodeJS.ProcessEnv = {}): ChildProcess {
  return spawn(process.execPath, [program, ...parameters], {
    stdio: ['ignore', 'ignore', 'pipe'],
    env: { ...process.env, ...environment },
  });
}

/** As short as a run can be; with the floor, since the tests have a compiler. */
export const TINY: readonly string[] = ['--rounds', '5', '--round-ms', '2'];
