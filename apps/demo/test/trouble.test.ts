import { execFileSync } from 'node:child_process';
import { chmodSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { runDemo } from './run-demo.ts';
import { temporaryFolder } from './temporary-folder.ts';

/** Two files that are fine, in front and behind of what is not. */
function folderWithTwoFiles(): string {
  const folder = temporaryFolder();
  writeFileSync(join(folder, '0'), 'first');
  writeFileSync(join(folder, 'z'), 'last');
  return folder;
}

test('links in circles and to nowhere are reported and counted, and the rest is hashed', async () => {
  const folder = folderWithTwoFiles();
  mkdirSync(join(folder, 'a/b'), { recursive: true });
  symlinkSync('..', join(folder, 'a/b/up'));
  symlinkSync('.', join(folder, 'self'));
  symlinkSync('pong', join(folder, 'ping'));
  symlinkSync('ping', join(folder, 'pong'));
  symlinkSync('nowhere', join(folder, 'dangling'));

  const { status, summary, stderr } = await runDemo([folder, '--json']);

  expect(status).toBe(0);
  expect(summary).toMatchObject({ files: 2, mismatches: 0, errors: 5 });
  expect(stderr.trimEnd().split('\n').sort()).toEqual([
    `${join(folder, 'a/b/up')}: ELOOP: a link back to a directory that it is in`,
    `${join(folder, 'dangling')}: ENOENT: no such file or directory`,
    `${join(folder, 'ping')}: ELOOP: too many symbolic links encountered`,
    `${join(folder, 'pong')}: ELOOP: too many symbolic links encountered`,
    `${join(folder, 'self')}: ELOOP: a link back to a directory that it is in`,
  ]);
});

test('a file that vanishes after it was listed is reported and counted', async () => {
  const folder = folderWithTwoFiles();
  const vanishes = join(folder, 'm');
  writeFileSync(vanishes, 'gone before a client opens it');

  const run = { fixture: 'vanishing-file.mjs', env: { VANISHES: vanishes } };
  const { status, lines, summary, stderr } = await runDemo([folder, '--json'], run);

  expect(status).toBe(0);
  expect(lines).toContain('3 files; 3 clients over shm');
  expect(summary).toMatchObject({ files: 2, mismatches: 0, errors: 1 });
  expect(stderr).toBe(`${vanishes}: ENOENT: no such file or directory\n`);
});

test.runIf(process.platform === 'linux')(
  'a file that cannot be read at all is reported and counted, even for root',
  async () => {
    const folder = folderWithTwoFiles();
    // Its length is a lie, and nothing is mapped at address 0: reading it is an error for root too.
    symlinkSync('/proc/self/mem', join(folder, 'm'));

    const { status, summary, stderr } = await runDemo([folder, '--json']);

    expect(status).toBe(0);
    expect(summary).toMatchObject({ files: 2, mismatches: 0, errors: 1 });
    expect(stderr).toBe(`${join(folder, 'm')}: EIO: i/o error\n`);
  },
);

test('a file that fails when part of it is on the server spoils no other file of that client', async () => {
  const folder = folderWithTwoFiles();
  const fails = join(folder, 'm');
  writeFileSync(fails, Buffer.alloc(4 * 64 * 1024, 'piece'));

  const run = { fixture: 'failing-read.mjs', env: { FAILS: fails } };
  const { status, summary, stderr } = await runDemo([folder, '--json', '--clients', '1'], run);

  expect(status).toBe(0);
  expect(summary).toMatchObject({ files: 2, mismatches: 0, errors: 1 });
  expect(stderr).toBe(`${fails}: EIO: i/o error\n`);
});

test('files and folders without permission are reported and counted', async () => {
  const folder = folderWithTwoFiles();
  writeFileSync(join(folder, 'm'), 'secret');
  mkdirSync(join(folder, 'n'));
  chmodSync(join(folder, 'm'), 0o000);
  chmodSync(join(folder, 'n'), 0o000);
  // Root reads them all the same.
  const readable = process.getuid?.() === 0;

  const { status, summary, stderr } = await runDemo([folder, '--json']);

  expect(status).toBe(0);
  expect(summary).toMatchObject({ files: readable ? 3 : 2, mismatches: 0, errors: readable ? 0 : 2 });
  expect(stderr.match(/EACCES: permission denied/g) ?? []).toHaveLength(readable ? 0 : 2);
});

test('pipes and sockets are no files: nobody waits for them', async () => {
  const folder = folderWithTwoFiles();
  execFileSync('mkfifo', [join(folder, 'm')]);

  const { status, summary } = await runDemo([folder, '--json']);

  expect(status).toBe(0);
  expect(summary).toMatchObject({ files: 2, errors: 0 });
});

test('a name with control characters cannot write to the terminal', async () => {
  const folder = temporaryFolder();
  symlinkSync('nowhere', join(folder, 'a\x1b[2Jb\n'));

  const { stderr } = await runDemo([folder]);

  expect(stderr).toBe(`${JSON.stringify(join(folder, 'a\x1b[2Jb\n'))}: ENOENT: no such file or directory\n`);
});

test('a file that is reported is not in the sums', async () => {
  const folder = folderWithTwoFiles();
  symlinkSync('nowhere', join(folder, 'm'));
  const sums = join(temporaryFolder(), 'sums');

  await runDemo([folder, '--sums', sums]);

  expect(readFileSync(sums, 'utf8').match(/[0z]$/gm)).toHaveLength(2);
  expect(readFileSync(sums, 'utf8')).not.toMatch(/m$/m);
});
