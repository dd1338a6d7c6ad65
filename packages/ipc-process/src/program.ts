/** Which file a program's name means, and how it is started. */
import { existsSync, realpathSync, statSync } from 'node:fs';
import { dirname, extname, join, resolve, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import { show, SystemError } from '@spanwire/ipc-core';

/** The argument before the number of the inherited descriptor. */
export const MARKER = '-ipcfd';
/** The descriptor that a spawned process inherits. */
export const CHANNEL_FD = 3;

const SCRIPT_EXTENSIONS: readonly string[] = ['.js', '.mjs', '.cjs', '.ts', '.mts', '.cts'];
/** What a name without an extension may be called on disk. */
const IMPLIED_EXTENSIONS: readonly string[] = [
  '',
  '.js',
  '.mjs',
  '.cjs',
  ...(process.platform === 'win32' ? ['.exe'] : []),
];

export interface Command {
  readonly file: string;
  readonly parameters: readonly string[];
  /** The program, for messages. */
  readonly path: string;
}

/**
 * Finds `program`: a bare name next to the running program (the folder of the script, symbolic links resolved), a path relative to the
 * current directory, an absolute path or a file URL. Throws ERR_IPC_SYSTEM (ENOENT) naming the places, or TypeError.
 */
export function findProgram(program: unknown, execArgv: readonly string[]): Command {
  const path = locate(program);
  const channel = [MARKER, String(CHANNEL_FD)];
  return SCRIPT_EXTENSIONS.includes(extname(path))
    ? { file: process.execPath, parameters: [...execArgv, path, ...channel], path }
    : { file: path, parameters: channel, path };
}

/** Where bare names are looked up. */
function programFolder(): string {
  const script = process.argv[1];
  // No script in a REPL, with `-e`, and in a single executable.
  return dirname(script === undefined || !existsSync(script) ? process.execPath : realpathSync(script));
}

function locate(program: unknown): string {
  if (program instanceof URL) return expectFile([fileURLToPath(program)]);
  if (typeof program !== 'string' || program === '' || program.includes('\0')) {
    throw new TypeError(`Expected \`program\` to be a name, a path or a file URL, got ${show(program)}`);
  }
  if (program.startsWith('file:')) return expectFile([fileURLToPath(program)]);
  if (program.includes('/') || program.includes(sep)) return expectFile([resolve(program)]);
  const folder = programFolder();
  return expectFile(IMPLIED_EXTENSIONS.map((extension) => join(folder, program + extension)));
}

function expectFile(candidates: readonly string[]): string {
  const found = candidates.find(isFile);
  if (found === undefined) throw new SystemError('spawn', 'ENOENT', `No program at ${candidates.join(', ')}`);
  return found;
}

function isFile(path: string): boolean {
  try {
    return statSync(path).isFile();
  } catch {
    // Missing, below a file, or out of reach: all the same to who looks for a program.
    return false;
  }
}
