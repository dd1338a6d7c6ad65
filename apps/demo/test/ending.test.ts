import { readdirSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { processesOf, runDemo, startDemo, type Run } from './run-demo.ts';
import { temporaryFolder } from './temporary-folder.ts';

const MiB = 1024 * 1024;
const FILES = 400;

/** Files that take no room on the disk. By default that is more than any of these tests waits for. */
function largeFiles(bytes: number = 64 * MiB): string {
  const folder = temporaryFolder();
  for (let i = 0; i < FILES; i++) {
    const path = join(folder, String(i).padStart(3, '0'));
    writeFileSync(path, '');
    truncateSync(path, bytes);
  }
  return folder;
}

/** Waits until bytes have reached the server. */
async function atWork(run: Run): Promise<void> {
  await run.line(/files \| \d+ files\/s \| [1-9]\d* MB\/s/);
}

/** As the terminal does: to every process of the group. */
function pressCtrlC(run: Run): void {
  process.kill(-run.pid, 'SIGINT');
}

describe('Ctrl-C', () => {
  test('lets the files in hand finish, also when npm passes it on a second time', async () => {
    const run = startDemo([largeFiles(), '--json'], { fixture: 'prompt-echo.mjs' });
    await atWork(run);
    pressCtrlC(run);
    process.kill(run.pid, 'SIGINT');

    const { status, lines, stderr, summary } = await run.outcome;

    expect(status).toBe(0);
    expect(stderr).toBe('');
    // A file that its client dropped would be an error.
    expect(summary).toMatchObject({ mismatches: 0, errors: 0 });
    expect(summary.files).toBeGreaterThan(0);
    expect(summary.files).toBeLessThan(FILES);
    expect(summary.bytes).toBe(summary.files * 64 * MiB);
    expect(lines).toContain(`interrupted: ${summary.files} of ${FILES} files`);
  });

  test('pressed again a moment later ends every process at once', async () => {
    const temporary = temporaryFolder();
    const run = startDemo([largeFiles(64 * 1024 * MiB)], { env: { TMPDIR: temporary } });
    await atWork(run);
    pressCtrlC(run);
    // Lines of progress are a second apart: this is no echo of the first.
    await run.line(/stopping$/, 4);
    pressCtrlC(run);

    // The clients hold the standard error of the run: it ends with the last of them.
    const { status } = await run.outcome;

    expect(status).toBe(130);
    expect(readdirSync(temporary)).toEqual([]);
  });

  test('while files are looked for ends with a summary too; the default DIR is node_modules here', async () => {
    const run = startDemo(['--json']);
    await run.line(/^looking for files below .*\/node_modules$/);
    pressCtrlC(run);

    const { status, summary } = await run.outcome;

    expect(status).toBe(0);
    expect(summary).toMatchObject({ transport: 'shm', mismatches: 0 });
  });

  test.each(['SIGTERM', 'SIGHUP'] as const)('is what %s is, to the main process alone', async (signal) => {
    const run = startDemo([largeFiles(), '--json']);
    await atWork(run);
    process.kill(run.pid, signal);

    const { status, summary } = await run.outcome;

    expect(status).toBe(0);
    expect(summary).toMatchObject({ mismatches: 0, errors: 0 });
    expect(summary.files).toBeLessThan(FILES);
  });
});

describe('when a process is killed', () => {
  test('and it is a client, its file is an error, the others do the rest, and the exit code is 1', async () => {
    const run = { fixture: 'dying-client.mjs', env: { DIES: join(temporaryFolder(), 'now') } };
    const { status, summary, stderr } = await runDemo([largeFiles(2 * MiB), '--json'], run);

    expect(status).toBe(1);
    expect(summary).toMatchObject({ files: FILES - 1, mismatches: 0, errors: 1 });
    expect(stderr).toMatch(/^.*\/\d{3}: its client left in the middle of it\nclient 2: ended by SIGKILL\n$/);
  });

  test('and it is the only client, what it did not do stays undone, and the exit code is 1', async () => {
    const run = startDemo([largeFiles(), '--json', '--clients', '1']);
    const { clients } = await processesOf(run);
    await atWork(run);
    process.kill(clients[0] ?? 0, 'SIGKILL');

    const { status, summary, stderr } = await run.outcome;

    expect(status).toBe(1);
    expect(summary).toMatchObject({ mismatches: 0, errors: 1 });
    expect(summary.files).toBeLessThan(FILES - 1);
    expect(stderr).toContain('client 1: ended by SIGKILL');
  });

  test('and it is the server, every client fails at once, and the exit code is 1', async () => {
    const run = startDemo([largeFiles(), '--json']);
    const { server } = await processesOf(run);
    await atWork(run);
    process.kill(server, 'SIGKILL');

    const { status, summary, stderr } = await run.outcome;

    expect(status).toBe(1);
    expect(summary.mismatches).toBe(0);
    expect(summary.errors).toBeGreaterThan(0);
    for (const client of [1, 2, 3]) expect(stderr).toContain(`client ${client}: exit code 1`);
    expect(stderr).toContain('server: ended by SIGKILL');
  });

  test('and it is the main one, the others end by themselves', async () => {
    const run = startDemo([largeFiles()], { env: { TMPDIR: temporaryFolder() } });
    await atWork(run);
    process.kill(run.pid, 'SIGKILL');

    // The others hold its standard error: it ends with the last of them.
    const { signal } = await run.outcome;

    expect(signal).toBe('SIGKILL');
  });
});

test('nothing is left behind in the temporary folder', async () => {
  const temporary = temporaryFolder();
  const folder = temporaryFolder();
  writeFileSync(join(folder, 'file'), 'x');

  const { status } = await runDemo([folder], { env: { TMPDIR: temporary } });

  expect(status).toBe(0);
  expect(readdirSync(temporary)).toEqual([]);
});
