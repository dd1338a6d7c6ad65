// Packs every public package and examines the tarball: what a user installs, not what lies in the folder.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { pack, withTemporaryFolder } from './pack.mjs';
import { capture } from './run.mjs';
import { workspaces } from './workspace.mjs';

let failures = 0;
const complain = (/** @type {string} */ text) => {
  failures += 1;
  console.error(text);
};

const examine = (/** @type {string} */ tool, /** @type {string[]} */ parameters) => {
  try {
    capture(tool, parameters);
  } catch (error) {
    complain(String(error));
  }
};

withTemporaryFolder((temporary) => {
  for (const { folder, path, manifest } of workspaces()) {
    if (manifest.private === true) continue;
    const { path: tarball, files } = pack(path, temporary);

    for (const required of ['LICENSE', 'README.md']) {
      if (!files.includes(required)) complain(`${folder}: the package lacks ${required}`);
    }
    // The compiler never deletes: output of a source that is gone would be published, and imported by tests.
    for (const file of files) {
      const source = /^dist\/(.*)\.js$/.exec(file)?.[1];
      if (source !== undefined && !existsSync(join(path, `src/${source}.ts`))) {
        complain(`${folder}/${file}: has no source; run \`npm run clean\``);
      }
    }
    examine('publint', ['run', '--strict', tarball]);
    // esm-only: the packages offer nothing to require(), and resolutions that know no "exports" do not count.
    examine('attw', ['--profile', 'esm-only', '--no-definitely-typed', '--no-emoji', '--format', 'ascii', tarball]);
    console.log(`${folder}: ${files.length} files`);
  }
});

process.exitCode = failures > 0 ? 1 : 0;
