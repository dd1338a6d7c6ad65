import { accessSync, constants, existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { environment, readJson, root, workspaces } from './workspace.mjs';

/**
 * One verification that needs more than Node, npm and g++, as written in a `verify.json`.
 *
 * @typedef {object} Step
 * @property {string} name A sentence of what is proved.
 * @property {string[]} [needs] `python3`: a program on the PATH; `file:/usr/include/x.h`: a file;
 *   `platform:linux`: a platform.
 * @property {string[]} [debian] The Debian packages that bring what is needed.
 * @property {string} command A shell command, run in the folder of its verify.json.
 * @property {string | false} [shortCommand] What `--short` runs instead; false: nothing. Without it the command
 *   is short enough.
 *
 * @typedef {Step & { folder: string }} FoundStep
 */

const knownNeed = /^([\w.+-]+|file:.+|platform:\w+)$/;

/**
 * The steps of every `verify.json`, checked for sense.
 *
 * @param {string} [base]
 * @returns {FoundStep[]}
 */
export function findSteps(base = root) {
  return ['scripts', ...workspaces(base).map(({ folder }) => folder)]
    .filter((folder) => existsSync(join(base, folder, 'verify.json')))
    .flatMap((folder) => {
      /** @type {unknown} */
      const steps = readJson(join(base, folder, 'verify.json'));
      if (!Array.isArray(steps)) {
        throw new TypeError(`Expected \`${folder}/verify.json\` to be an array of steps`);
      }
      return steps.map((step) => ({ ...checked(folder, step), folder }));
    });
}

/**
 * Why a step cannot run here, or undefined when it can.
 *
 * @param {Step} step
 * @param {{ short: boolean }} options
 * @returns {string | undefined}
 */
export function reasonToSkip(step, { short }) {
  if (short && step.shortCommand === false) return 'has no short form';
  const missing = (step.needs ?? []).filter((need) => !isThere(need));
  return missing.length > 0 ? `needs ${missing.join(', ')}` : undefined;
}

/**
 * @param {string} folder
 * @param {any} step
 * @returns {Step}
 */
function checked(folder, step) {
  const isText = (/** @type {unknown} */ value) => typeof value === 'string' && value !== '';
  const isList = (/** @type {unknown} */ value) => value === undefined || (Array.isArray(value) && value.every(isText));
  const { name, needs, debian, command, shortCommand, ...unknown } = step;
  const expect = (/** @type {boolean} */ holds, /** @type {string} */ what) => {
    if (!holds) {
      throw new TypeError(`Expected \`${folder}/verify.json\` ${what}, got ${JSON.stringify(step)}`);
    }
  };
  expect(isText(name) && isText(command), 'to give each step a `name` and a `command`');
  expect(isList(needs) && isList(debian), 'to have arrays of strings as `needs` and `debian`');
  expect(
    /** @type {Step} */ (step).needs?.every((need) => knownNeed.test(need)) ?? true,
    'to need programs, file:PATH or platform:NAME',
  );
  expect(
    shortCommand === undefined || shortCommand === false || isText(shortCommand),
    'to have a command or false as `shortCommand`',
  );
  expect(Object.keys(unknown).length === 0, 'to have no other properties');
  return step;
}

/** @param {string} need */
function isThere(need) {
  if (need.startsWith('file:')) return existsSync(need.slice('file:'.length));
  if (need.startsWith('platform:')) return need === `platform:${process.platform}`;
  return environment.PATH.split(delimiter).some((folder) => isExecutable(join(folder, need)));
}

/** @param {string} path */
function isExecutable(path) {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
