import { execFile } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';

const folder = fileURLToPath(new URL('../examples/', import.meta.url));

/** Runs an example as a reader would, and returns what it printed last. */
async function run(name: string): Promise<Record<string, unknown>> {
  const { stdout } = await promisify(execFile)(process.execPath, [`${folder}${name}.mjs`]);
  return JSON.parse(stdout.trim().split('\n').at(-1) ?? '');
}

const MiB = 1024 * 1024;

/** What each example has to show. */
const expectations: Record<string, (result: Record<string, unknown>) => void> = {
  'rate-limited-server': (result) => {
    expect(result).toMatchObject({ served: 50, finished: ['modest', 'greedy'] });
    // 50 at 100 a second; timers may be early by less than one of them.
    expect(result['ms']).toBeGreaterThan(480);
  },
  'per-client-session': (result) => {
    expect(result).toEqual({
      answers: [1, 10, 3, 30, 6],
      totals: { 1: 6, 2: 60 },
      ended: [1],
      afterwards: 60,
    });
  },
  'load-shedding': (result) => {
    expect(result).toMatchObject({ replies: 60, served: 60, most: 4, inFlight: 0 });
    // At the start, 12 of 60 were taken.
    expect(result['busy']).toBeGreaterThanOrEqual(48);
    expect(result['p99Ms']).toBeGreaterThan(4);
  },
  'large-file': (result) => {
    expect(result).toMatchObject({ fileBytes: 256 * MiB, receivedBytes: 256 * MiB, sameHash: true });
    // The window of a stream is 256 KiB; besides, each side holds a chunk or two.
    expect(result['mostAheadBytes']).toBeLessThan(MiB);
    // What the collector leaves lying about comes on top, but nothing that grows with the file.
    expect(result['serverGrowthBytes']).toBeLessThan(96 * MiB);
    expect(result['clientGrowthBytes']).toBeLessThan(96 * MiB);
  },
  broadcast: (result) => {
    expect(result).toMatchObject({ readers: [500, 500, 500, 500, 500], inOrder: true });
    expect(result['reachedAtLeast']).toBeGreaterThanOrEqual(5);
    expect(result['idlerDropped']).toBeGreaterThan(0);
  },
  'cancel-a-search': (result) => {
    expect(result).toEqual({
      shown: ['quiz'],
      leftEarly: 3,
      stats: { started: 4, finished: 1, cancelled: 3 },
    });
  },
  'hash-with-barretenberg': (result) => {
    const elsewhere = { skipped: `no server for ${process.platform} ${process.arch}` };
    const shipped = process.platform === 'linux' && process.arch === 'x64';
    if (!shipped && 'skipped' in result) expect(result).toEqual(elsewhere);
    else expect(result).toEqual({ inputs: 2000, right: [2000, 2000, 2000, 2000] });
  },
  'rolling-restart': (result) => {
    expect(result).toMatchObject({ servers: 4, ranTwice: 0, lost: 0 });
    expect(result['answered']).toBe(result['asked']);
    expect(result['ran']).toBe(result['asked']);
    expect(result['resent']).toBeGreaterThan(0);
  },
};

describe('examples', () => {
  it('each has an expectation', () => {
    const names = readdirSync(folder).map((file) => file.replace('.mjs', ''));
    expect(new Set(names)).toEqual(new Set(Object.keys(expectations)));
  });

  // Whole programs, several processes each: on a busy machine they need more than the usual watchdog leaves them.
  it.each(Object.entries(expectations))(
    '%s shows what it says',
    async (name, expectResult) => {
      expectResult(await run(name));
    },
    300_000,
  );
});
