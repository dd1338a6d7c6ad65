import { existsSync, readdirSync } from 'node:fs';
import { defineConfig } from 'vitest/config';

/** Every folder with a `test` folder in it is a project, so adding a package adds its tests. */
const folders = [
  ...['packages', 'apps'].flatMap((parent) => readdirSync(parent).map((name) => `${parent}/${name}`)),
  'scripts',
].filter((folder) => existsSync(`${folder}/test`));

export default defineConfig({
  test: {
    projects: folders.map((folder) => ({
      extends: true,
      test: { name: folder.split('/').at(-1) ?? folder, include: [`${folder}/test/**/*.test.ts`] },
    })),
    // Real child processes, signals and descriptors: each file gets a process of its own.
    pool: 'forks',
    maxWorkers: 2,
    retry: 0,
    // A watchdog against hangs; no test asserts an upper bound of time. On a busy machine a test of a few seconds takes a minute.
    testTimeout: 300_000,
    hookTimeout: 300_000,
    allowOnly: false,
  },
});
