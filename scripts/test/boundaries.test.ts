import { expect, it } from 'vitest';
import { findViolations } from '../boundaries.mjs';
import { temporaryRepository } from './temporary-repository.ts';

const core = {
  'packages/ipc-core/package.json': { name: '@spanwire/ipc-core', peerDependencies: { rxjs: '^7.8.0' } },
  'packages/ipc-core/tsconfig.json': {},
  'packages/ipc-core/src/index.ts': `export const value: number = 1;`,
};

const dependingOn = (name: string, ...dependencies: string[]): Record<string, unknown> => ({
  [`packages/${name}/package.json`]: {
    name: `@spanwire/${name}`,
    dependencies: Object.fromEntries(dependencies.map((dependency) => [`@spanwire/${dependency}`, '^0.1.0'])),
  },
  [`packages/${name}/tsconfig.json`]: {
    references: dependencies.map((dependency) => ({ path: `../${dependency}` })),
  },
});

it('accepts the arrows of the design, from the core up to an app', () => {
  const base = temporaryRepository({
    ...core,
    ...dependingOn('ipc-socket', 'ipc-core'),
    'packages/ipc-socket/src/index.ts': `export * from '@spanwire/ipc-core';\nexport { a } from './a.ts';`,
    'packages/ipc-socket/src/a.ts': `import net from 'node:net';\nexport const a = net;`,
    'packages/ipc-socket/test/a.test.ts': `import { a } from '@spanwire/ipc-socket';\nimport { a as b } from '../src/a.ts';\nvoid [a, b];`,
    ...dependingOn('ipc-command', 'ipc-core', 'ipc-socket'),
    'packages/ipc-command/src/index.ts': `export * from '@spanwire/ipc-socket';`,
    'apps/demo/package.json': { name: '@spanwire/demo', dependencies: { '@spanwire/ipc-command': '^0.1.0' } },
    'apps/demo/tsconfig.json': { references: [{ path: '../../packages/ipc-command' }] },
    'apps/demo/src/main.ts': `import '@spanwire/ipc-command';`,
  });

  expect(findViolations(base)).toEqual([]);
});

it.each([
  ['an import', `import { serve } from '@spanwire/ipc-rx';\nserve();`],
  ['a type import', `import type { Serve } from '@spanwire/ipc-rx';\nexport type A = Serve;`],
  ['a re-export', `export { serve } from '@spanwire/ipc-rx';`],
  ['a re-export of everything', `export * from '@spanwire/ipc-rx';`],
  ['a dynamic import', `export const load = () => import('@spanwire/ipc-rx/testing');`],
  ['an import type', `export type A = import('@spanwire/ipc-rx').Serve;`],
])('refuses a transport that knows ipc-rx by %s', (_, source) => {
  const base = temporaryRepository({
    ...core,
    ...dependingOn('ipc-socket', 'ipc-core'),
    'packages/ipc-socket/src/deep/index.ts': source,
  });

  expect(findViolations(base)).toEqual([
    expect.stringMatching(/^packages\/ipc-socket\/src\/deep\/index\.ts: imports @spanwire\/ipc-rx.*arrows/),
  ]);
});

it('does not take an example in a comment or a string for an import', () => {
  const base = temporaryRepository({
    ...core,
    'packages/ipc-core/src/index.ts': [
      `/** @example import { handle } from '@spanwire/ipc-rx'; */`,
      `export const text: string = "import '@spanwire/ipc-rx'";`,
    ].join('\n'),
  });

  expect(findViolations(base)).toEqual([]);
});

it('refuses a dependency against the arrows even when no file uses it', () => {
  const base = temporaryRepository({ ...core, ...dependingOn('ipc-socket', 'ipc-core', 'ipc-shm-native') });

  expect(findViolations(base)).toContain(
    'packages/ipc-socket/package.json: must not depend on @spanwire/ipc-shm-native',
  );
});

it('refuses an import that package.json does not declare', () => {
  const base = temporaryRepository({
    ...core,
    ...dependingOn('ipc-rx'),
    'packages/ipc-rx/src/index.ts': `export * from '@spanwire/ipc-core';`,
  });

  expect(findViolations(base)).toEqual([expect.stringContaining('package.json does not declare it')]);
});

it('refuses anything that imports an app', () => {
  const base = temporaryRepository({
    ...core,
    'packages/ipc-core/test/a.test.ts': `import '@spanwire/demo';`,
  });

  expect(findViolations(base)).toEqual([expect.stringContaining('packages/ipc-core/test/a.test.ts')]);
});

it('refuses a relative path into another package', () => {
  const base = temporaryRepository({
    ...core,
    ...dependingOn('ipc-rx', 'ipc-core'),
    'packages/ipc-rx/src/index.ts': `export * from '../../ipc-core/src/index.ts';`,
  });

  expect(findViolations(base)).toEqual([expect.stringContaining('outside of the package')]);
});

it('lets the tests of ipc-rx, but not its sources, use a transport', () => {
  const rx = dependingOn('ipc-rx', 'ipc-core');
  const files = {
    ...core,
    ...rx,
    'packages/ipc-rx/package.json': {
      ...(rx['packages/ipc-rx/package.json'] as object),
      devDependencies: { '@spanwire/ipc-socket': '^0.1.0' },
    },
    'packages/ipc-rx/test/a.test.ts': `import '@spanwire/ipc-socket';`,
  };

  expect(findViolations(temporaryRepository(files))).toEqual([]);
  expect(
    findViolations(temporaryRepository({ ...files, 'packages/ipc-rx/src/a.ts': `import '@spanwire/ipc-socket';` })),
  ).toEqual([expect.stringContaining('packages/ipc-rx/src/a.ts')]);
});

it('refuses input and output in the sources of the core, except in the contract suite', () => {
  const base = temporaryRepository({
    ...core,
    'packages/ipc-core/src/a.ts': `import 'node:fs/promises';`,
    'packages/ipc-core/src/testing/b.ts': `import 'node:child_process';`,
    'packages/ipc-core/test/c.test.ts': `import 'node:net';`,
  });

  expect(findViolations(base)).toEqual([
    'packages/ipc-core/src/a.ts: imports node:fs/promises: this package does no I/O of its own',
  ]);
});

it('wants a package that is new to be named in the table', () => {
  const base = temporaryRepository({
    ...core,
    'packages/ipc-pigeon/package.json': { name: '@spanwire/ipc-pigeon' },
  });

  expect(findViolations(base)).toEqual([expect.stringContaining('packages/ipc-pigeon: not in the table')]);
});

it('wants the references of the compiler to equal the dependencies', () => {
  const base = temporaryRepository({
    ...core,
    ...dependingOn('ipc-socket', 'ipc-core'),
    'packages/ipc-socket/tsconfig.json': { references: [{ path: '../ipc-rx' }] },
  });

  expect(findViolations(base)).toEqual([
    'packages/ipc-socket/tsconfig.json: lacks the reference ../ipc-core',
    'packages/ipc-socket/tsconfig.json: refers to ../ipc-rx, no dependency of it',
  ]);
});
