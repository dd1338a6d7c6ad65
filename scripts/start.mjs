// `node scripts/start.mjs apps/demo ARGUMENTS` builds that app and what it needs, then becomes it.
//
// package.json starts this with `exec`: a shell in between would die of Ctrl-C and hide the app's own exit code. Ctrl-C
// in a terminal then reaches the app twice, from the terminal and from npm, which forwards it.
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { buildQuietly } from './build-quietly.mjs';
import { readJson, root } from './workspace.mjs';

const [node = '', , folder = '', ...parameters] = process.argv;
/** @type {import('./workspace.mjs').Manifest} */
const { name } = readJson(join(root, folder, 'package.json'));

if (buildQuietly([name])) {
  const main = join(root, folder, 'dist/main.js');
  process.argv = [node, main, ...parameters];
  await import(pathToFileURL(main).href);
} else {
  process.exitCode = 1;
}
