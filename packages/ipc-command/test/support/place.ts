import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';

/** What the tests between processes run over: shared memory where it exists, and there it has to work. */
export const transports = process.platform === 'linux' ? (['unix', 'shm'] as const) : (['unix'] as const);

/** An address of that transport, in a folder that goes with the test. */
export function addressOn(transport: 'unix' | 'shm'): string {
  return `${transport}:${socketPath()}`;
}

/** A socket's path in a folder of its own, which goes with the test. */
export function socketPath(): string {
  const folder = mkdtempSync(join(tmpdir(), 'spanwire-command-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  return join(folder, 's');
}
