/** What the installation of this package does, with the files that are packed. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, mkdirSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, onTestFinished, test } from 'vitest';
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

interface Built {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs the install script of the package in `folder`. Compiling takes long: this process turns meanwhile. */
async function build(folder: string, env: Record<string, string>, ...parameters: string[]): Promise<Built> {
  // Without the settings of an npm that may run this test.
  const inherited = Object.entries(process.env).filter(([name]) => !name.startsWith('npm_config_node'));
  const child = spawn(process.execPath, [join(folder, 'build-native.mjs'), ...parameters], {
    env: { ...Object.fromEntries(inherited), ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  onTestFinished(() => void child.kill('SIGKILL'));
  let [stdout, stderr] = ['', ''];
  child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  const [status] = (await once(child, 'close')) as [number | null];
  return { status, stdout, stderr };
}

/** Where there is nothing to run. */
const withoutPrograms = (): Record<string, string> => ({ PATH: makeDirectory(), CXX: 'c++', PYTHON: 'python3' });

test('an installation where nothing can be compiled succeeds, and says what is missing', async () => {
  const folder = unpacked();
  const { status, stderr } = await build(folder, withoutPrograms());
  expect(status).toBe(0);
  expect(stderr).toContain('@spanwire/ipc-shm-native was not built');
  expect(stderr).toContain('not found: c++, make, python3');
  expect((await build(folder, withoutPrograms(), '--strict')).status).toBe(1);
});

test('an addon that is newer than its sources is not built again, unless it does not load', async () => {
  const folder = unpacked();
  mkdirSync(dirname(join(folder, ADDON)), { recursive: true });
  cpSync(join(own, ADDON), join(folder, ADDON));
  expect(await build(folder, withoutPrograms(), '--strict')).toMatchObject({ status: 0, stdout: 'up to date\n' });

  const later = new Date(Date.now() + 60_000);
  utimesSync(join(folder, 'native/ring/ring.hpp'), later, later);
  expect((await build(folder, withoutPrograms(), '--strict')).status).toBe(1);

  const muchLater = new Date(Date.now() + 120_000);
  writeFileSync(join(folder, ADDON), 'of another system');
  utimesSync(join(folder, ADDON), muchLater, muchLater);
  expect((await build(folder, withoutPrograms(), '--strict')).status).toBe(1);
});

test(
  'the addon compiles for systems that it does not know, and says ERR_IPC_UNSUPPORTED there',
  { timeout: 900_000 },
  async () => {
    const folder = unpacked();
    const built = await build(folder, { GYP_DEFINES: 'spanwire_platform=unsupported', CXXFLAGS: '-O0' }, '--strict');
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
