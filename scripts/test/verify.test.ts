import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { installScripts, temporaryRepository } from './temporary-repository.ts';

function verify(steps: readonly object[], ...parameters: string[]) {
  const base = temporaryRepository({
    'packages/a/package.json': { name: 'a' },
    'packages/a/verify.json': steps,
  });
  installScripts(base);
  const { status, stdout, stderr } = spawnSync(process.execPath, [join(base, 'scripts/verify.mjs'), ...parameters], {
    encoding: 'utf8',
  });
  return { status, stdout, stderr, lines: stdout.trim().split('\n') };
}

it('runs each step in its own folder and counts what passed', () => {
  const { status, lines } = verify([
    { name: 'first', command: 'basename "$PWD"' },
    { name: 'second', command: 'true' },
  ]);

  expect(lines).toContain('a');
  expect(lines.at(-1)).toBe('verify: 2 passed, 0 failed, 0 skipped');
  expect(status).toBe(0);
});

it('runs the steps behind one that fails, and fails', () => {
  const { status, lines } = verify([
    { name: 'first', command: 'exit 3' },
    { name: 'second', command: 'true' },
  ]);

  expect(lines).toContain('x failed   packages/a: first (exit code 3: exit 3)');
  expect(lines.at(-1)).toBe('verify: 1 passed, 1 failed, 0 skipped');
  expect(status).toBe(1);
});

it('skips a step that lacks a tool, a file or its platform, with the reason', () => {
  const { status, lines } = verify([
    { name: 'tool', needs: ['node', 'no-such-tool'], command: 'false' },
    { name: 'file', needs: ['file:/no/such/file'], command: 'false' },
    { name: 'platform', needs: ['platform:beos'], command: 'false' },
    { name: 'all there', needs: ['node', 'file:/', `platform:${process.platform}`], command: 'true' },
  ]);

  expect(lines).toContain('- skipped  packages/a: tool (needs no-such-tool)');
  expect(lines).toContain('- skipped  packages/a: file (needs file:/no/such/file)');
  expect(lines).toContain('- skipped  packages/a: platform (needs platform:beos)');
  expect(lines.at(-1)).toBe('verify: 1 passed, 0 failed, 3 skipped');
  expect(status).toBe(0);
});

it('counts a step that ends with 77 as skipped', () => {
  const { status, lines } = verify([{ name: 'hardware', command: 'echo no such counter; exit 77' }]);

  expect(lines).toContain('no such counter');
  expect(lines.at(-1)).toBe('verify: 0 passed, 0 failed, 1 skipped');
  expect(status).toBe(0);
});

it('runs the short form where there is one, and skips a step that has none', () => {
  const steps = [
    { name: 'both', command: 'echo long', shortCommand: 'echo short' },
    { name: 'one', command: 'echo same' },
    { name: 'long only', command: 'echo hours', shortCommand: false },
  ];
  const short = verify(steps, '--short').lines;
  const long = verify(steps).lines;

  expect(short).toEqual(expect.arrayContaining(['short', 'same']));
  expect(short).not.toContain('hours');
  expect(short.at(-1)).toBe('verify: 2 passed, 0 failed, 1 skipped');
  expect(long).toEqual(expect.arrayContaining(['long', 'same', 'hours']));
  expect(long.at(-1)).toBe('verify: 3 passed, 0 failed, 0 skipped');
});

it('names each Debian package once and runs nothing when asked for them', () => {
  const { status, lines } = verify(
    [
      { name: 'x', command: 'false', debian: ['spin', 'python3'] },
      { name: 'y', command: 'false', debian: ['python3'] },
    ],
    '--debian',
  );

  expect(lines).toEqual(['python3', 'spin']);
  expect(status).toBe(0);
});

it.each([
  ['a step without a command', { name: 'x' }],
  ['a misspelt property', { name: 'x', command: 'true', need: ['python3'] }],
  ['a need of an unknown kind', { name: 'x', command: 'true', needs: ['tool:python3'] }],
])('refuses %s instead of passing over it', (_, step) => {
  const { status, stdout, stderr } = verify([step]);

  expect(stderr).toContain('TypeError: Expected');
  expect(stdout).not.toContain('verify:');
  expect(status).not.toBe(0);
});
