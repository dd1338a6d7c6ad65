import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { delimiter, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/**
 * @typedef {object} Manifest What the scripts read of a package.json.
 * @property {string} name
 * @property {string} version
 * @property {boolean} [private]
 * @property {Record<string, unknown>} [exports]
 * @property {Record<string, string>} [dependencies]
 * @property {Record<string, string>} [devDependencies]
 * @property {Record<string, string>} [peerDependencies]
 * @property {Record<string, { optional?: boolean }>} [peerDependenciesMeta]
 * @property {Record<string, string>} [optionalDependencies]
 *
 * @typedef {object} Workspace
 * @property {string} folder Relative to the root, as in `packages/ipc-core`.
 * @property {string} path Absolute.
 * @property {Manifest} manifest
 */

export const root = dirname(dirname(fileURLToPath(import.meta.url)));

/**
 * The environment in which a step runs: the tools of this repository come first on the PATH, so that a
 * script does the same under `npm run` and under plain `node`.
 */
export const environment = {
  ...process.env,
  PATH: join(root, 'node_modules', '.bin') + delimiter + (process.env['PATH'] ?? ''),
};

/**
 * Every package and app below `base`, in the order of their folders.
 *
 * @param {string} [base]
 * @returns {Workspace[]}
 */
export function workspaces(base = root) {
  return ['packages', 'apps']
    .filter((parent) => existsSync(join(base, parent)))
    .flatMap((parent) =>
      readdirSync(join(base, parent))
        .sort()
        .map((name) => `${parent}/${name}`),
    )
    .filter((folder) => existsSync(join(base, folder, 'package.json')))
    .map((folder) => ({
      folder,
      path: join(base, folder),
      manifest: readJson(join(base, folder, 'package.json')),
    }));
}

/**
 * @param {string} path
 * @returns {any}
 */
export function readJson(path) {
  return JSON.parse(readFileSync(path, 'utf8'));
}
