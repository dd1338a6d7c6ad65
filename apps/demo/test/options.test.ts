import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { runDemo } from './run-demo.ts';
import { temporaryFolder } from './temporary-folder.ts';

test('a DIR that does not exist ends the program with exit code 2 and its full name', async () => {
  const folder = temporaryFolder();

  const { status, stderr, lines } = await runDemo(['no/such'], { cwd: folder });

  expect(status).toBe(2);
  expect(stderr).toBe(`Expected DIR to be a directory, got ${join(folder, 'no/such')}, which does not exist\n`);
  expect(lines).toEqual([]);
});

test('a DIR that is a file, or that cannot be reached, ends the program with exit code 2', async () => {
  const folder = temporaryFolder();
  writeFileSync(join(folder, 'file'), 'x');

  expect(await runDemo([join(folder, 'file')])).toMatchObject({
    status: 2,
    stderr: `Expected DIR to be a directory, got ${join(folder, 'file')}, which is not one\n`,
  });
  expect(await runDemo([join(folder, 'file/below')])).toMatchObject({
    status: 2,
    stderr: expect.stringContaining('ENOTDIR') as string,
  });
});

test.each([
  [['--clients', '0'], 'Expected --clients to be 1 to 64, got 0'],
  [['--clients', '65'], 'Expected --clients to be 1 to 64, got 65'],
  [['--clients', '1.5'], 'Expected --clients to be 1 to 64, got 1.5'],
  [['--clients', 'many'], 'Expected --clients to be 1 to 64, got many'],
  [['--transport', 'pigeon'], 'got pigeon'],
  [['.', '..'], 'Expected one DIR, got . and ..'],
  [['--sums', 'no/such/file'], 'no/such/file'],
  [['--unknown'], '--unknown'],
])('the options %j end the program with exit code 2', async (parameters, message) => {
  const { status, stderr } = await runDemo(parameters, { cwd: temporaryFolder() });

  expect(status).toBe(2);
  expect(stderr).toContain(message);
});

test('--help says how to use it, and nothing else happens', async () => {
  const { status, lines } = await runDemo(['--help', '--clients', '0']);

  expect(status).toBe(0);
  expect(lines).toContain('  npm run demo -- [DIR] [OPTIONS]');
});

test('a relative DIR is seen from where the user of npm is', async () => {
  const folder = temporaryFolder();
  mkdirSync(join(folder, 'here'));
  writeFileSync(join(folder, 'here/file'), 'x');

  const asDemo = { cwd: temporaryFolder(), env: { npm_lifecycle_event: 'demo', INIT_CWD: folder } };
  expect((await runDemo(['here', '--json'], asDemo)).summary.files).toBe(1);

  // Run by another script, it is that script's folder that counts.
  const asOther = { cwd: folder, env: { npm_lifecycle_event: 'other', INIT_CWD: temporaryFolder() } };
  expect((await runDemo(['here', '--json'], asOther)).summary.files).toBe(1);
});
