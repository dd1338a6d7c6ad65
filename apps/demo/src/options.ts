import { statSync } from 'node:fs';
import { resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { SumsFile } from './sums-file.ts';
import { resolveTransport, transportNames } from './transport.ts';

const MAX_CLIENTS = 64;
const DEFAULT_DIRECTORY: string = fileURLToPath(new URL('../../../node_modules', import.meta.url));

const USAGE: string = `Hashes every file below DIR in a server process, on behalf of client processes that compare.

  npm run demo -- [DIR] [OPTIONS]

  DIR                 default: node_modules of this repository
  --clients N         client processes, 1 to ${MAX_CLIENTS}; default 3
  --transport NAME    ${transportNames.join(', ')}; default auto: shm where it works, else socket
  --sums FILE         write the server's hashes there, in the format of sha256sum
  --json              print the summary as a JSON object, in the last line
  --help`;

const PARAMETERS = {
  clients: { type: 'string', default: '3' },
  transport: { type: 'string', default: 'auto' },
  sums: { type: 'string' },
  json: { type: 'boolean', default: false },
  help: { type: 'boolean', default: false },
} as const;

export interface Options {
  readonly directory: string;
  readonly clients: number;
  readonly transport: string;
  readonly sums: SumsFile | undefined;
  readonly json: boolean;
}

/** Ends the process where there is nothing to do: `--help`, and with exit code 2 what is not valid. */
export function readOptions(parameters: string[]): Options {
  try {
    const { values, positionals } = parseArgs({ args: parameters, allowPositionals: true, options: PARAMETERS });
    if (values.help) {
      console.log(USAGE);
      return process.exit(0);
    }
    return {
      directory: directoryOf(positionals),
      clients: clientsOf(values.clients),
      transport: transportOf(values.transport),
      sums: values.sums === undefined ? undefined : new SumsFile(fromHere(values.sums)),
      json: values.json,
    };
  } catch (error) {
    console.error(error instanceof Error ? error.message : error);
    return process.exit(2);
  }
}

function directoryOf([directory = DEFAULT_DIRECTORY, ...more]: string[]): string {
  if (more.length > 0) throw new TypeError(`Expected one DIR, got ${[directory, ...more].join(' and ')}`);
  const path = fromHere(directory);
  const found = statSync(path, { throwIfNoEntry: false });
  if (found?.isDirectory() === true) return path;
  throw new TypeError(`Expected DIR to be a directory, got ${path}, which ${found ? 'is not one' : 'does not exist'}`);
}

function clientsOf(text: string): number {
  const clients = Number(text);
  if (Number.isInteger(clients) && clients >= 1 && clients <= MAX_CLIENTS) return clients;
  throw new RangeError(`Expected --clients to be 1 to ${MAX_CLIENTS}, got ${text}`);
}

function transportOf(name: string): string {
  if (transportNames.includes(name)) return resolveTransport(name);
  throw new TypeError(`Expected --transport to be one of ${transportNames.join(', ')}, got ${name}`);
}

/** npm runs scripts in the folder of package.json, and tells where its user is. */
function fromHere(path: string): string {
  const here = process.env['npm_lifecycle_event'] === 'demo' ? process.env['INIT_CWD'] : undefined;
  return resolve(here ?? process.cwd(), path);
}
