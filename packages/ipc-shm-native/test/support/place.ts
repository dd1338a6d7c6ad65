import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';

/** A directory of the test's own; `mode` opens it to others. */
export function makeDirectory(mode = 0o700): string {
  const directory = mkdtempSync(join(tmpdir(), 'spanwire-test-'));
  chmodSync(directory, mode);
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}
