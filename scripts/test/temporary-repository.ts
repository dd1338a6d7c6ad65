import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { onTestFinished } from 'vitest';

/** Writes the files (text as it is, anything else as JSON) into a new folder that is gone after the test. */
export function temporaryRepository(files: Record<string, unknown>): string {
  const base = mkdtempSync(join(tmpdir(), 'spanwire-test-'));
  onTestFinished(() => rmSync(base, { recursive: true }));
  for (const [path, content] of Object.entries(files)) {
    mkdirSync(dirname(join(base, path)), { recursive: true });
    writeFileSync(join(base, path), typeof content === 'string' ? content : JSON.stringify(content));
  }
  return base;
}

/** Copies our scripts into a repository: they take the folder above them for the root. */
export function installScripts(base: string): void {
  cpSync(join(import.meta.dirname, '..'), join(base, 'scripts'), {
    recursive: true,
    filter: (source) => !source.endsWith('verify.json') && !source.endsWith('/test'),
  });
}
