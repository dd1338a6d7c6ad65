import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { capture } from './run.mjs';

/**
 * @typedef {object} Tarball
 * @property {string} name
 * @property {string} path
 * @property {string[]} files Paths inside the package.
 */

/**
 * Packs the package in `folder` into `destination`, as a publication would.
 *
 * @param {string} folder
 * @param {string} destination
 * @returns {Tarball}
 */
export function pack(folder, destination) {
  // --ignore-scripts: installed packages that are packed again would run their own build.
  const parameters = ['pack', '--json', '--ignore-scripts', '--pack-destination', destination, folder];
  /** @type {[{ name: string, filename: string, files: { path: string }[] }]} */
  const [packed] = JSON.parse(capture('npm', parameters, { cwd: destination }));
  return {
    name: packed.name,
    path: join(destination, packed.filename),
    files: packed.files.map((file) => file.path),
  };
}

/**
 * Gives `use` an empty folder that is gone afterwards.
 *
 * @param {(folder: string) => void} use
 */
export function withTemporaryFolder(use) {
  const folder = mkdtempSync(join(tmpdir(), 'spanwire-'));
  try {
    use(folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
