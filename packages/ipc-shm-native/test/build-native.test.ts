/** What the installation of this package does, with the files that are packed. */
import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { start } from './support/children.ts';
import { makeDirectory } from './support/place.ts';

const own = fileURLToPath(new URL('..', import.meta.url));
const ADDON = 'build/Release/spanwire.node';

/** The package as it was unpacked, before its install script. */
function unpacked(): string {
  const folder = join(makeDirectory(), 'ipc-shm-native');
  mkdirSync(folder);
  for (const part of ['binding.gyp', 'build-native.mjs', 'dist', 'native', 'package.json']) {
    cpSync(join(own, part), join(folder, part), { recursive: true, preserveTimestamps: true });
  }
  symlinkSync(join(own, '../../node_modules'), join(folder, 'node_modules'));
  return folder;
}

/** Runs the install script of the package in `folder`. */
function build(folder: string, env: Record<string, string>, ...parameters: string[]) {
  // Without the settings of an npm that may run this test.
  const inherited = Object.entries(process.env).filter(([name]) => !name.startsWith('npm_config_node'));
  return spawnSync(process.execPath, [join(folder, 'build-native.mjs'), ...parameters], {
    env: { ...Object.fromEntries(inherited), ...env },
    encoding: 'utf8',
  });
}

/** Where there is nothing to run. */
const withoutPrograms = (): Record<string, string> => ({ PATH: makeDirectory(), CXX: 'c++', PYTHON: 'python3' });

test('an installation where nothing can be compiled succeeds, and says what is missing', () => {
  const folder = unpacked();
  const { status, stderr } = build(folder, withoutPrograms());
  expect(status).toBe(0);
  expect(stderr).toContain('@spanwire/ipc-shm-native was not built');
  expect(stderr).toContain('not found: c++, make, python3');
  expect(build(folder, withoutPrograms(), '--strict').status).toBe(1);
});

test('an addon that is newer than its sources is not built again, unless it does not load', () => {
  const folder = unpacked();
  mkdirSync(dirname(join(folder, ADDON)), { recursive: true });
  cpSync(join(own, ADDON), join(folder, ADDON));
  expect(build(folder, withoutPrograms(), '--strict')).toMatchObject({ status: 0, stdout: 'up to date\n' });

  const later = new Date(Date.now() + 60_000);
  utimesSync(join(folder, 'native/ring/ring.hpp'), later, later);
  expect(build(folder, withoutPrograms(), '--strict').status).toBe(1);

  const muchLater = new Date(Date.now() + 120_000);
  writeFileSync(join(folder, ADDON), 'of another system');
  utimesSync(join(folder, ADDON), muchLater, muchLater);
  expect(build(folder, withoutPrograms(), '--strict').status).toBe(1);
});

test(
  'the addon compiles for systems that it does not know, and says ERR_IPC_UNSUPPORTED there',
  { timeout: 300_000 },
  async () => {
    const folder = unpacked();
    const built = build(folder, { GYP_DEFINES: 'spanwire_platform=unsupported', CXXFLAGS: '-O0' }, '--strict');
    expect(built).toMatchObject({ status: 0, stdout: 'built\n' });

    const child = start('unsupported.mjs', { folder });
    const { available, said } = await child.next<{
      available: boolean;
      said: Array<{ code: string; message: string }>;
    }>();
    expect(available).toBe(false);
    expect(said.map(({ code }) => code)).toEqual(Array.from({ length: 5 }, () => 'ERR_IPC_UNSUPPORTED'));
    for (const { message } of said) expect(message).toContain(process.platform);
    expect((await child.exited).code).toBe(0);
  },
);
