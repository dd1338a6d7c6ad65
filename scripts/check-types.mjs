// Type-checks what no build compiles: tests with their fixtures, these scripts, configuration in TypeScript.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { runShell } from './run.mjs';
import { root, workspaces } from './workspace.mjs';

const testFolders = workspaces()
  .map(({ folder }) => `${folder}/test`)
  .filter((folder) => existsSync(join(root, folder)));

// Without a tsconfig.json of its own a test folder would silently go unchecked.
const bare = testFolders.filter((folder) => !existsSync(join(root, folder, 'tsconfig.json')));
for (const folder of bare) console.error(`${folder}: has no tsconfig.json`);

const status = runShell(`tsc -b ${['scripts', ...testFolders].filter((folder) => !bare.includes(folder)).join(' ')}`);
process.exitCode = bare.length > 0 ? 1 : status;
