/** What two native processes reach on this machine at this moment: the floor of a round. */
import { execFile } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

export type FloorName = 'ring' | 'eventfd' | 'cold' | 'memcpy';

/** How the machine was in a round, by the round trip between its CPUs. */
export type State = 'near' | 'far' | 'disturbed';

export interface FloorFigures {
  /** 64 bytes there and back through the rings. */
  readonly ringNs: number;
  readonly state: State;
  /** A wake-up there and back with eventfds, back to back. */
  readonly eventfdNs: number | null;
  /** The same, once every 10 ms. */
  readonly coldNs: number | null;
  readonly memcpyBytesPerSecond: number | null;
}

export interface FloorOptions {
  readonly names: readonly FloorName[];
  /** Size of what is copied. */
  readonly copyBytes: number;
  readonly cpus: readonly [number, number] | undefined;
}

/** Enough for a stable median, in a few milliseconds. */
const ROUND_TRIPS = 20_000;
const NEAR_BELOW_NS = 300;
const FAR_BELOW_NS = 2000;

const run = promisify(execFile);
const sources = fileURLToPath(new URL('../../../packages/ipc-shm-native/native', import.meta.url));
const program = fileURLToPath(new URL('../build/floor', import.meta.url));

export class Floor {
  /** Compiles the program when its sources are newer. Rejects with the reason when this machine cannot have a floor. */
  static async build(): Promise<Floor> {
    if (process.platform !== 'linux') throw new Error('the floor is measured on Linux only');
    if (newest(sources) > modified(program)) {
      await compile();
    }
    return new Floor();
  }

  async measure({ names, copyBytes, cpus }: FloorOptions): Promise<FloorFigures> {
    const only = [...new Set<FloorName>(['ring', ...names])];
    const parameters = ['--only', only.join(','), '--rounds', String(ROUND_TRIPS), '--copy', String(copyBytes)];
    if (cpus !== undefined) parameters.push('--cpus', cpus.join(','));
    const { stdout } = await run(program, parameters);
    const found = JSON.parse(stdout) as Printed;
    return {
      ringNs: found.ringRoundTripNs.p50,
      state: stateOf(found.ringRoundTripNs.p50),
      eventfdNs: found.eventfdRoundTripNs?.p50 ?? null,
      coldNs: found.eventfdColdNs?.p50 ?? null,
      memcpyBytesPerSecond: found.memcpyGBs === undefined ? null : found.memcpyGBs * 1e9,
    };
  }
}

/** Another bench may compile, or measure, at the same moment: the program appears whole, or not at all. */
async function compile(): Promise<void> {
  mkdirSync(dirname(program), { recursive: true });
  const folder = mkdtempSync(`${program}-`);
  try {
    const product = join(folder, 'floor');
    const platform = join(sources, 'platform');
    const files = readdirSync(platform).filter((name) => name.endsWith('_linux.cpp'));
    const compiler = process.env['CXX'] ?? 'c++';
    const parameters = ['-std=c++20', '-O2', '-o', product, join(sources, 'floor/floor.cpp')];
    await run(compiler, [...parameters, ...files.map((name) => join(platform, name))]);
    renameSync(product, program);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Between CPUs that share a cache a round trip takes about 100 ns, else about 550; more means that both were on one CPU, or others worked. */
export function stateOf(ringNs: number): State {
  if (ringNs < NEAR_BELOW_NS) return 'near';
  return ringNs < FAR_BELOW_NS ? 'far' : 'disturbed';
}

/** What floor.cpp prints. */
interface Printed {
  readonly ringRoundTripNs: { readonly p50: number };
  readonly eventfdRoundTripNs?: { readonly p50: number };
  readonly eventfdColdNs?: { readonly p50: number };
  readonly memcpyGBs?: number;
}

function modified(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0;
}

function newest(folder: string): number {
  const times = readdirSync(folder, { recursive: true, encoding: 'utf8' }).map((name) => modified(join(folder, name)));
  return Math.max(0, ...times);
}
