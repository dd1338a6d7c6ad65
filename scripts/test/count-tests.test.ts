import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { temporaryRepository } from './temporary-repository.ts';

const root = join(import.meta.dirname, '../..');

/** What `.ci/run` prints about a real run of vitest over these test files. */
function countsOf(files: Record<string, string>): { last: string | undefined; status: number | null } {
  const base = temporaryRepository(files);
  const report = join(base, 'report.json');
  // A project of its own, that takes vitest from here.
  writeFileSync(
    join(base, 'vitest.config.mjs'),
    `export default { resolve: { alias: { vitest: ${JSON.stringify(join(root, 'node_modules/vitest'))} } } };`,
  );
  const { status } = spawnSync(
    process.execPath,
    [
      join(root, 'node_modules/vitest/vitest.mjs'),
      'run',
      '--root',
      base,
      '--reporter=json',
      `--outputFile.json=${report}`,
    ],
    { encoding: 'utf8' },
  );
  const { stdout } = spawnSync(process.execPath, [join(root, 'scripts/count-tests.mjs'), report], {
    encoding: 'utf8',
  });
  return { last: stdout.trimEnd().split('\n').at(-1), status };
}

const passing = `import { it } from 'vitest';\nit('one', () => {});\nit('two', () => {});`;

it('counts what passed and what failed', () => {
  const failing = `import { it } from 'vitest';\nit('three', () => { throw new Error('no'); });`;

  expect(countsOf({ 'a.test.js': passing })).toEqual({ last: '2 passed, 0 failed', status: 0 });
  expect(countsOf({ 'a.test.js': passing, 'b.test.js': failing })).toEqual({
    last: '2 passed, 1 failed',
    status: 1,
  });
});

it('adds what was skipped', () => {
  const skipping = `import { it } from 'vitest';\nit.skip('three', () => {});\nit.todo('four');`;

  expect(countsOf({ 'a.test.js': passing, 'b.test.js': skipping }).last).toBe('2 passed, 0 failed, 2 skipped');
});

it('counts a file that does not load as a failure', () => {
  expect(countsOf({ 'a.test.js': passing, 'b.test.js': `import './missing.js';` }).last).toBe('2 passed, 1 failed');
});

it('does not call a run without a report a success', () => {
  const { stdout } = spawnSync(process.execPath, [join(root, 'scripts/count-tests.mjs'), '/no/such/report.json'], {
    encoding: 'utf8',
  });

  expect(stdout).toBe('0 passed, 1 failed\n');
});
