import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { until } from './support/until.ts';

const folder = fileURLToPath(new URL('./fixtures/readme/', import.meta.url));

describe('the README', () => {
  it('shows programs that are type-checked and run here', () => {
    const readme = readFileSync(new URL('../README.md', import.meta.url), 'utf8');
    const shown = [...readme.matchAll(/```ts\n(.*?)```/gs)].map(([, program]) => program);
    const files = readdirSync(folder).map((name) => readFileSync(join(folder, name), 'utf8'));
    expect(new Set(shown)).toEqual(new Set(files));
  });

  it.each([
    ['lazy', () => import('./fixtures/readme/lazy-server.ts')],
    ['reactive', () => import('./fixtures/readme/reactive-server.ts')],
  ])('has a %s server and a client that do what they say', async (_name, server) => {
    const log = vi.spyOn(console, 'log').mockImplementation(() => undefined);
    const before = process.cwd();
    const place = mkdtempSync(join(tmpdir(), 'spanwire-readme-'));
    process.chdir(place);
    onTestFinished(() => {
      log.mockRestore();
      process.chdir(before);
      rmSync(place, { recursive: true, force: true });
      vi.resetModules();
    });
    const served = server();
    await until(
      () => existsSync('stack.sock'),
      (exists) => exists,
    );
    await import('./fixtures/readme/client.ts');
    await served;
    const lines = log.mock.calls.map((words) => JSON.stringify(words));
    expect(lines).toContain('[8,{"sum":9}]');
    expect(lines.filter((line) => line.startsWith('["tick"'))).toEqual(['["tick",0]', '["tick",1]']);
    expect(lines).toContain('[[1,2,3]]');
    expect(existsSync('stack.sock')).toBe(false);
  });
});
