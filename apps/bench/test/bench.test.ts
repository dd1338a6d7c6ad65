import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { BenchResult } from '../src/result.ts';
import { bench, benchWithout, TINY } from './run-bench.ts';

let folder: string;
let result: BenchResult;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'spanwire-bench-test-'));
  const json = join(folder, 'result.json');
  const { status, stdout } = await benchWithout('zeromq', [
    ...TINY,
    '--scenario',
    'request-64',
    'memory',
    '--json',
    json,
  ]);
  expect(status).toBe(0);
  expect(stdout).toContain('64 B there and back, one at a time');
  expect(stdout).toContain('skipped zeromq: zeromq is not installed');
  result = JSON.parse(readFileSync(json, 'utf8')) as BenchResult;
});

afterAll(() => rmSync(folder, { recursive: true, force: true }));

test('every transport and every peer has a record of what was asked for', () => {
  const names = result.records
    .filter(({ scenario }) => scenario === 'request-64')
    .map(({ transport, peer }) => transport ?? peer);
  expect(names).toEqual([
    'shm',
    'shm-blocking',
    'memory',
    'unix',
    'tcp',
    'child-process-json',
    'child-process-advanced',
    'net',
    'message-port',
    'bare-rings',
  ]);
});

test('a record has its figures, its ratios and at least five rounds', () => {
  for (const record of result.records.filter(({ scenario }) => scenario === 'request-64')) {
    expect(record).toMatchObject({
      scenario: 'request-64',
      p50Ns: expect.any(Number),
      p99Ns: expect.any(Number),
      p999Ns: expect.any(Number),
      perSecond: expect.any(Number),
      ratioToFloor: expect.any(Number),
      rounds: 5,
    });
    expect(record.perRound).toHaveLength(5);
    expect(record.p50Ns).toBeGreaterThan(0);
    expect(record.p99Ns).toBeGreaterThanOrEqual(record.p50Ns ?? 0);
    expect(record.p999Ns).toBeGreaterThanOrEqual(record.p99Ns ?? 0);
    if (record.transport === null) expect(record.ratioToBestPeer).toBeNull();
    else expect(record).toMatchObject({ peer: expect.any(String), ratioToBestPeer: expect.any(Number) });
    for (const { floorNs, state, clientCpu } of record.perRound) {
      expect(floorNs).toBeGreaterThan(0);
      expect(['near', 'far', 'disturbed']).toContain(state);
      expect(clientCpu).not.toBeNull();
    }
  }
});

test('a target comes with its figure and a verdict', () => {
  const unix = result.records.find(({ scenario, transport }) => scenario === 'request-64' && transport === 'unix');
  expect(unix?.target).toEqual({ ratioToReference: { atMost: 1.1 } });
  expect(unix?.met).toBe((unix?.ratioToReference ?? Number.NaN) <= 1.1);
  const shm = result.records.find(({ scenario, transport }) => scenario === 'request-64' && transport === 'shm');
  expect(shm?.target).toEqual({ ratioToFloor: { atMost: 2.6 }, ratioToBestPeer: { atLeast: 100 } });
  const blocking = result.records.find(({ transport }) => transport === 'shm-blocking');
  expect(blocking?.target).toEqual({ ratioToFloor: { atMost: 1.8 } });
  expect(blocking?.met).toBe((blocking?.ratioToFloor ?? Number.NaN) <= 1.8);
  const [toFloor, toBestPeer] = [shm?.ratioToFloor ?? Number.NaN, shm?.ratioToBestPeer ?? Number.NaN];
  expect(shm?.met).toBe(toFloor <= 2.6 && toBestPeer >= 100);
});

test('each more client is seen in the memory of the server', () => {
  const grown = result.records.filter(({ scenario }) => scenario === 'memory');
  expect(grown.map(({ transport }) => transport)).toEqual(['shm', 'unix', 'tcp']);
  for (const { bytesPerClient } of grown) expect(bytesPerClient).not.toBeNull();
});

test('a peer that is not installed is skipped with its reason, and nothing failed', () => {
  expect(result.skipped).toEqual([{ scenario: 'request-64', peer: 'zeromq', reason: 'zeromq is not installed' }]);
  expect(result.failed).toEqual([]);
});

test('the peers with Barretenberg’s server are skipped with their reason where that is not installed', async () => {
  const { status, stdout } = await benchWithout('@aztec/bb.js/platform', [...TINY, '--scenario', 'barretenberg']);
  expect(status).toBe(0);
  for (const client of ['spanwire', 'published']) {
    expect(stdout).toContain(`skipped barretenberg-${client}: @aztec/bb.js is not installed`);
  }
});

test('the file says what machine it was, and neither its name nor any path', () => {
  expect(result.machine).toMatchObject({ node: process.version, cpus: expect.any(Number), kernel: expect.any(String) });
  const text = JSON.stringify(result);
  expect(text).not.toContain(hostname());
  expect(text).not.toMatch(/"[^"]*\/(?:home|root|tmp|usr|work)\//);
});

test('--compare names what became worse than in an old run, and exits with 1', async () => {
  const old = join(folder, 'old.json');
  const better = result.records.map((record) => ({
    ...record,
    perRound: record.perRound.map((round) => ({ ...round, bytesPerClient: 1 })),
  }));
  writeFileSync(old, JSON.stringify({ ...result, records: better }));
  const { status, stdout } = await bench([...TINY, '--scenario', 'memory', '--compare', old]);
  expect(stdout).toMatch(/memory .*unix .*bytesPerClient .*REGRESSION/);
  expect(status).toBe(1);
});

test('--from prints the figures of an earlier run again, and draws them, without measuring', async () => {
  const report = join(folder, 'report');
  const { status, stdout } = await bench(['--from', join(folder, 'result.json'), '--report', report]);
  expect(status).toBe(0);
  expect(stdout).toContain('64 B there and back, one at a time');
  expect(readFileSync(join(report, 'targets.md'), 'utf8')).toContain('| Spanwire unix | at most 1.10× |');
  expect(readFileSync(join(report, 'round-trip.svg'), 'utf8')).toContain('Spanwire unix');
});

test('--compare refuses a file of another kind before anything is measured', async () => {
  const file = join(folder, 'other.json');
  writeFileSync(file, '{"schema":"other"}');
  const { status, stdout, stderr } = await bench(['--compare', file]);
  expect(status).toBe(2);
  expect(stderr).toContain('to have the schema spanwire-bench/1, got "other"');
  expect(stdout).toBe('');
});

test('--list names every scenario and what a quick run takes of it', async () => {
  const { status, stdout } = await bench(['--list']);
  expect(status).toBe(0);
  expect(stdout).toMatch(/^request-64$/m);
  expect(stdout).toMatch(/^ {2}full: {2}shm, memory, unix, .*\n {2}quick: shm$/m);
});

test.each([
  [['--scenario', 'nonsense'], 'Expected --scenario to be a name out of --list, got nonsense'],
  [['--rounds', '4'], 'Expected an integer of at least 5'],
  [['--round-ms', '0'], 'Expected an integer of at least 1'],
  [['--nonsense'], "unknown option '--nonsense'"],
])('%j is a mistake that is named, with exit code 2', async (parameters, message) => {
  const { status, stderr } = await bench(parameters);
  expect(stderr).toContain(message);
  expect(status).toBe(2);
});
