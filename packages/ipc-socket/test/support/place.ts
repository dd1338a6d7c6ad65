import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';

/** A directory of the test's own. */
export function makeDirectory(): string {
  const directory = mkdtempSync(join(tmpdir(), 'spanwire-test-'));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

/** A path for a socket. */
export function makePath(): string {
  return join(makeDirectory(), 'test.sock');
}
