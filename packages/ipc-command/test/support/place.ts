import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';

/** A socket's path in a folder of its own, which goes with the test. */
export function socketPath(): string {
  const folder = mkdtempSync(join(tmpdir(), 'spanwire-command-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  return join(folder, 's');
}
