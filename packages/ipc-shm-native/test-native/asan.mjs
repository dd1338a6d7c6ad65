// Builds the addon once more, under the address and undefined-behaviour sanitizers, beside the real one, and runs tests whose child
// processes use it: `node test-native/asan.mjs [file of a test ...]`.
import { execFileSync, spawnSync } from 'node:child_process';
import { cpSync, mkdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const packageFolder = dirname(dirname(fileURLToPath(import.meta.url)));
const folder = join(packageFolder, 'build', 'asan');
const flags = '-fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer -g1 -O1';

/** @param {string} command @param {string[]} args @param {import('node:child_process').SpawnSyncOptions} options */
function run(command, args, options) {
  const { status, error } = spawnSync(command, args, { stdio: 'inherit', ...options });
  if (error !== undefined) throw error;
  if (status !== 0) process.exit(status ?? 1);
}

// node-gyp builds where binding.gyp is.
mkdirSync(folder, { recursive: true });
for (const part of ['binding.gyp', 'native']) {
  cpSync(join(packageFolder, part), join(folder, part), { recursive: true, preserveTimestamps: true });
}
const prefix = dirname(dirname(process.execPath));
const tool = createRequire(import.meta.url).resolve('node-gyp/bin/node-gyp.js');
run(process.execPath, [tool, 'configure', 'build', '--release', '--loglevel=warn', `--nodedir=${prefix}`], {
  cwd: folder,
  env: { ...process.env, CXX: 'g++', CXXFLAGS: flags, LDFLAGS: flags },
});

// Node itself is not built with the sanitizer, so its runtime has to be there first.
const runtime = execFileSync('g++', ['-print-file-name=libasan.so'], { encoding: 'utf8' }).trim();
const env = { ...process.env, SPANWIRE_ASAN: JSON.stringify({ folder, runtime }) };
const tests = process.argv.length > 2 ? process.argv.slice(2) : ['hostile', 'kill', 'life', 'stress', 'memory.test'];
run('npx', ['vitest', 'run', '--project', 'ipc-shm-native', ...tests], {
  cwd: join(packageFolder, '../..'),
  env,
});
