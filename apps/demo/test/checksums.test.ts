import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { runDemo } from './run-demo.ts';
import { temporaryFolder } from './temporary-folder.ts';

const KiB = 1024;

function sha256(data: string | Uint8Array): string {
  return createHash('sha256').update(data).digest('hex');
}

/** Bytes that no two places of a file have in common, so that a lost or swapped piece shows. */
function bytes(length: number): Buffer {
  const data = Buffer.alloc(length);
  for (let at = 0; at + 4 <= length; at += 4) data.writeUInt32LE(at, at);
  return data;
}

describe('the checksums', () => {
  test('are those of the files, from empty ones over exact pieces of 64 KiB to many pieces', async () => {
    const folder = temporaryFolder();
    const sizes = [0, 1, 64 * KiB - 1, 64 * KiB, 64 * KiB + 1, 128 * KiB, 5 * 1024 * KiB + 7];
    for (const size of sizes) writeFileSync(join(folder, `${size}`), bytes(size));
    const sums = join(temporaryFolder(), 'sums');

    const { status, summary } = await runDemo([folder, '--json', '--sums', sums]);

    expect(status).toBe(0);
    expect(readFileSync(sums, 'utf8').trimEnd().split('\n').sort()).toEqual(
      sizes.map((size) => `${sha256(bytes(size))}  ${join(folder, `${size}`)}`).sort(),
    );
    expect(summary).toMatchObject({ files: sizes.length, bytes: sizes.reduce((a, b) => a + b), mismatches: 0 });
  });

  test('are read by sha256sum --check, whatever bytes a file name has', async () => {
    const folder = temporaryFolder();
    const names = ['plain', 'with space', 'back\\slash', 'line\nbreak', 'return\r', '\\', 'ümläut', '-dash'];
    for (const name of names) writeFileSync(join(folder, name), `the file ${name}`);
    writeFileSync(Buffer.from(`${folder}/\xff\xfe is no UTF-8`, 'latin1'), 'bytes');
    const sums = join(temporaryFolder(), 'sums');

    const { status, summary } = await runDemo([folder, '--json', '--sums', sums]);

    expect(status).toBe(0);
    expect(summary).toMatchObject({ files: names.length + 1, errors: 0 });
    // Throws when one does not match, or a line is malformed.
    const checked = execFileSync('sha256sum', ['--strict', '--check', sums], { encoding: 'latin1' });
    expect(checked.match(/: OK$/gm)).toHaveLength(names.length + 1);
  });

  test('cover what find -L names: links to files and folders are followed', async () => {
    const folder = temporaryFolder();
    mkdirSync(join(folder, 'a/b'), { recursive: true });
    writeFileSync(join(folder, 'a/b/file'), 'content');
    writeFileSync(join(folder, 'a/.hidden'), 'content');
    symlinkSync('a/b', join(folder, 'folder-link'));
    symlinkSync('a/b/file', join(folder, 'file-link'));
    const sums = join(temporaryFolder(), 'sums');

    const { summary } = await runDemo([folder, '--json', '--sums', sums]);

    const found = execFileSync('find', ['-L', folder, '-type', 'f'], { encoding: 'utf8' }).trim().split('\n').sort();
    expect(found).toHaveLength(4);
    const paths = readFileSync(sums, 'utf8').trimEnd().split('\n');
    expect(paths.map((line) => line.slice(66)).sort()).toEqual(found);
    expect(summary).toMatchObject({ files: 4, errors: 0 });
  });

  test('a server that answers with wrong ones is found out, for every file, and the exit code is 1', async () => {
    const folder = temporaryFolder();
    for (const name of ['a', 'b', 'c']) writeFileSync(join(folder, name), name);
    writeFileSync(join(folder, 'empty'), '');

    const { status, summary, stderr } = await runDemo([folder, '--json'], { fixture: 'lying-server.mjs' });

    expect(status).toBe(1);
    // The lie is the truth about the empty file.
    expect(summary).toMatchObject({ files: 4, mismatches: 3, errors: 0 });
    expect(stderr).toContain(`${join(folder, 'a')}: the server's SHA-256 is another one than the client's`);
    expect(stderr).not.toContain(join(folder, 'empty'));
  });
});

describe('the output', () => {
  test.each([
    ['socket', 'socket'],
    ['shm', 'shm'],
    ['auto', 'shm'],
  ])('of --json over %s has one object with exactly these keys in its last line', async (name, transport) => {
    const folder = temporaryFolder();
    writeFileSync(join(folder, 'file'), '12345');

    const { status, summary, stderr } = await runDemo([folder, '--clients', '2', '--transport', name, '--json']);

    expect(status).toBe(0);
    expect(stderr).toBe('');
    expect(Object.keys(summary)).toEqual(['transport', 'clients', 'files', 'bytes', 'mismatches', 'seconds', 'errors']);
    expect(summary.seconds).toBeGreaterThan(0);
    expect(summary).toEqual({
      transport,
      clients: 2,
      files: 1,
      bytes: 5,
      mismatches: 0,
      seconds: summary.seconds,
      errors: 0,
    });
  });

  test('has plain lines of progress where it is no terminal, and a table with a row for each client', async () => {
    const folder = temporaryFolder();
    for (let i = 0; i < 20; i++) writeFileSync(join(folder, `${i}`), 'x');

    const { lines } = await runDemo([folder, '--clients', '2']);

    expect(lines.join('\n')).not.toContain('\x1b');
    expect(lines.filter((line) => /^100% \| 20\/20 files \| \d+ files\/s \| \d+ MB\/s$/.test(line))).toHaveLength(1);
    const rows = lines.filter((line) => line.startsWith('│')).map((line) => line.split(/[│\s]+/).slice(1, -1));
    expect(rows.map(([name]) => name)).toEqual(['client', '1', '2', 'all']);
    expect(rows[0]).toEqual(['client', 'files', 'MB', 'files/s', 'MB/s', 'mismatches', 'errors']);
    expect(Number(rows[1]?.[1]) + Number(rows[2]?.[1])).toBe(20);
    expect(rows[3]?.[1]).toBe('20');
  });

  test.runIf(process.platform === 'linux')('draws a bar on a terminal', async () => {
    const folder = temporaryFolder();
    writeFileSync(join(folder, 'file'), 'x');

    const { status, lines } = await runDemo([folder, '--json'], { terminal: true });

    expect(status).toBe(0);
    expect(lines.join('\n')).toContain(`\x1b[1G${'█'.repeat(20)} 100% | 1/1 files`);
    expect(JSON.parse(lines.at(-1) ?? '')).toMatchObject({ files: 1 });
  });

  test('of a folder without files is a summary of nothing', async () => {
    const { status, lines, summary } = await runDemo([temporaryFolder(), '--json']);

    expect(status).toBe(0);
    expect(summary).toMatchObject({ files: 0, bytes: 0, mismatches: 0, errors: 0 });
    expect(lines.join('\n')).not.toMatch(/NaN|Infinity/);
  });
});
