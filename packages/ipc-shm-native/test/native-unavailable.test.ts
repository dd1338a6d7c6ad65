import { cpSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { start } from './support/children.ts';
import { makeDirectory } from './support/place.ts';

const own = fileURLToPath(new URL('..', import.meta.url));

/** The package as it is installed where no addon could be built; `addon` is put in the place of one. */
function installed(addon?: string): string {
  const folder = join(makeDirectory(), 'ipc-shm-native');
  mkdirSync(folder);
  for (const part of ['dist', 'package.json']) cpSync(join(own, part), join(folder, part), { recursive: true });
  symlinkSync(join(own, '../../node_modules'), join(folder, 'node_modules'));
  if (addon !== undefined) {
    mkdirSync(join(folder, 'build/Release'), { recursive: true });
    writeFileSync(join(folder, 'build/Release/spanwire.node'), addon);
  }
  return folder;
}

test.each([
  ['there is none', undefined, 'No native build was found'],
  ['it does not load', 'no addon', 'file too short'],
])(
  'where %s, servers and clients throw ERR_IPC_NATIVE_UNAVAILABLE, saying what was tried and what to do',
  async (_, addon, reason) => {
    const folder = installed(addon);
    const child = start('without-addon.mjs', { folder });
    const said = await child.next<Array<{ code: string; message: string }>>();
    expect(said).toHaveLength(2);
    for (const { code, message } of said) {
      expect(code).toBe('ERR_IPC_NATIVE_UNAVAILABLE');
      for (const part of [
        folder,
        'build/Release',
        `${process.platform}-${process.arch}`,
        reason,
        'npm run build:native',
        '@spanwire/ipc-socket',
      ]) {
        expect(message).toContain(part);
      }
    }
    expect((await child.exited).code).toBe(0);
  },
);
