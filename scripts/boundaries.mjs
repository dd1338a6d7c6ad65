import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { dirname, join, relative, resolve, sep } from 'node:path';
import { parseSync, Visitor } from 'oxc-parser';
import { readJson, workspaces } from './workspace.mjs';

/** @typedef {import('./workspace.mjs').Workspace} Workspace */

const everything = ['ipc-core', 'ipc-socket', 'ipc-shm-native', 'ipc-rx', 'ipc-process', 'ipc-command'];
const belowPrograms = ['ipc-core', 'ipc-socket', 'ipc-shm-native', 'ipc-rx'];

/**
 * Who may know whom; arrows point one way: core <- transports and rx <- command and process <- apps.
 * `tests` lists what only the tests of a package may know besides.
 *
 * @type {Record<string, { src: string[], tests?: string[] }>}
 */
const packages = {
  'ipc-core': { src: [] },
  'ipc-socket': { src: ['ipc-core'] },
  'ipc-shm-native': { src: ['ipc-core'] },
  'ipc-rx': { src: ['ipc-core'], tests: ['ipc-socket', 'ipc-shm-native'] },
  'ipc-process': { src: belowPrograms },
  'ipc-command': { src: belowPrograms },
};

/** Packages that do no I/O of their own, and what that means. The contract suite is exempt: it starts processes. */
const pure = ['ipc-core', 'ipc-rx'];
const inputOutput = /^node:(child_process|cluster|dgram|dns|fs|http|http2|https|net|tls|worker_threads)(\/|$)/;

const scope = '@spanwire/';
const sourceFile = /\.[mc]?[jt]s$/;
const outputFolders = new Set(['node_modules', 'dist', 'build', 'coverage', '.turbo']);

/**
 * Every violation of the package boundaries in the repository at `base`, as one line of text each.
 *
 * @param {string} base
 * @returns {string[]}
 */
export function findViolations(base) {
  return workspaces(base).flatMap((workspace) => {
    const rule = ruleOf(workspace);
    if (rule === undefined) {
      return [`${workspace.folder}: not in the table of scripts/boundaries.mjs; say there what it may import`];
    }
    return [
      ...manifestViolations(workspace, rule),
      ...referenceViolations(workspace),
      ...filesIn(workspace.path).flatMap((file) => fileViolations(base, workspace, rule, file)),
    ];
  });
}

/**
 * @typedef {{ name: string, src: string[], tests: string[] }} Rule
 *
 * @param {Workspace} workspace
 * @returns {Rule | undefined}
 */
function ruleOf({ folder }) {
  const [parent, name = ''] = folder.split('/');
  if (parent === 'apps') return { name, src: everything, tests: everything };
  const rule = packages[name];
  return rule && { name, src: rule.src, tests: [...rule.src, ...(rule.tests ?? [])] };
}

/**
 * @param {Workspace} workspace
 * @param {Rule} rule
 */
function manifestViolations({ folder, manifest }, rule) {
  const published = {
    ...manifest.dependencies,
    ...manifest.peerDependencies,
    ...manifest.optionalDependencies,
  };
  return [
    ...ours(published)
      .filter((name) => !rule.src.includes(name))
      .map((name) => `${folder}/package.json: must not depend on ${scope}${name}`),
    ...ours(manifest.devDependencies)
      .filter((name) => !rule.tests.includes(name))
      .map((name) => `${folder}/package.json: must not depend on ${scope}${name}, not even for tests`),
  ];
}

/**
 * The compiler must know the same arrows as npm, else `tsc -b` builds in the wrong order.
 *
 * @param {Workspace} workspace
 */
function referenceViolations({ folder, path, manifest }) {
  const configPath = join(path, 'tsconfig.json');
  if (!existsSync(configPath)) return [`${folder}: has no tsconfig.json`];
  /** @type {{ references?: { path: string }[] }} */
  const config = readJson(configPath);
  const references = (config.references ?? []).map((reference) => resolve(path, reference.path));
  const dependencies = ours(manifest.dependencies).map((name) => resolve(path, '../../packages', name));
  return [
    ...dependencies
      .filter((dependency) => !references.includes(dependency))
      .map((dependency) => `${folder}/tsconfig.json: lacks the reference ${relative(path, dependency)}`),
    ...references
      .filter((reference) => !dependencies.includes(reference))
      .map((reference) => `${folder}/tsconfig.json: refers to ${relative(path, reference)}, no dependency of it`),
  ];
}

/**
 * @param {string} base
 * @param {Workspace} workspace
 * @param {Rule} rule
 * @param {string} file
 * @returns {string[]}
 */
function fileViolations(base, { path, manifest }, rule, file) {
  const isSource = file.startsWith(join(path, 'src') + sep);
  const isSuite = file.startsWith(join(path, 'src', 'testing') + sep);
  const declared = ours({
    ...manifest.dependencies,
    ...manifest.peerDependencies,
    ...manifest.optionalDependencies,
    ...(isSource ? {} : manifest.devDependencies),
  });
  const allowed = isSource ? rule.src : rule.tests;

  return importsOf(file).flatMap((specifier) => {
    const complain = (/** @type {string} */ why) => [`${relative(base, file)}: imports ${specifier}: ${why}`];
    if (specifier.startsWith('.')) {
      const inside = resolve(dirname(file), specifier).startsWith(path + sep);
      return inside ? [] : complain('that is outside of the package; import it by its name');
    }
    if (pure.includes(rule.name) && isSource && !isSuite && inputOutput.test(specifier)) {
      return complain('this package does no I/O of its own');
    }
    if (!specifier.startsWith(scope)) return [];
    const name = specifier.slice(scope.length).split('/')[0] ?? '';
    if (manifest.name === scope + name) {
      return isSource ? complain('a source imports its own package by path') : [];
    }
    if (!allowed.includes(name)) return complain('the arrows between the packages do not allow that');
    return declared.includes(name) ? [] : complain('package.json does not declare it');
  });
}

/**
 * The names of our own packages among the keys, without the scope.
 *
 * @param {Record<string, string>} [dependencies]
 */
function ours(dependencies = {}) {
  return Object.keys(dependencies)
    .filter((name) => name.startsWith(scope))
    .map((name) => name.slice(scope.length));
}

/**
 * What a file imports, exports from, imports dynamically by a literal, or names in an import type.
 *
 * @param {string} file
 * @returns {string[]}
 */
function importsOf(file) {
  const { program, errors } = parseSync(file, readFileSync(file, 'utf8'));
  if (errors.length > 0) throw new Error(`${file}: ${errors.map((error) => error.message).join('; ')}`);
  /** @type {string[]} */
  const found = [];
  const take = (/** @type {{ type: string, value?: unknown } | null} */ source) => {
    if (source?.type === 'Literal' && typeof source.value === 'string') found.push(source.value);
  };
  new Visitor({
    ImportDeclaration: (node) => take(node.source),
    ExportNamedDeclaration: (node) => take(node.source),
    ExportAllDeclaration: (node) => take(node.source),
    ImportExpression: (node) => take(node.source),
    TSImportType: (node) => take(node.source),
  }).visit(program);
  return found;
}

/**
 * @param {string} folder
 * @returns {string[]}
 */
function filesIn(folder) {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) return outputFolders.has(entry.name) ? [] : filesIn(path);
    return entry.isFile() && sourceFile.test(entry.name) ? [path] : [];
  });
}
