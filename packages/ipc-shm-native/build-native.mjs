// Builds the addon with node-gyp, unless it is newer than its sources. A machine without a compiler still gets
// everything else: a failure is reported, and the loader says ERR_IPC_NATIVE_UNAVAILABLE when the addon is used.
//   --strict   a failure is an exit code, too
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, rmSync, statSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const folder = dirname(fileURLToPath(import.meta.url));
const product = join(folder, 'build', 'Release', 'spanwire.node');
const strict = process.argv.includes('--strict');

/** The newest change below `path`, as milliseconds. @param {string} path @returns {number} */
function newest(path) {
  const { mtimeMs } = statSync(path);
  if (!statSync(path).isDirectory()) return mtimeMs;
  return Math.max(...readdirSync(path).map((name) => newest(join(path, name))));
}

/** The node-gyp of this package, or else the one that npm brings. */
function nodeGyp() {
  try {
    return createRequire(import.meta.url).resolve('node-gyp/bin/node-gyp.js');
  } catch {
    return process.env['npm_config_node_gyp'];
  }
}

/** @param {string} reason */
function fail(reason) {
  process.stderr.write(
    `@spanwire/ipc-shm-native was not built: ${reason}. Shared memory is not available here; sockets are.\n` +
      'Needed: a C++20 compiler, make and Python 3. Then: npm run build:native -w @spanwire/ipc-shm-native -- --strict\n',
  );
  process.exitCode = strict ? 1 : 0;
}

const sources = Math.max(...['binding.gyp', 'native'].map((name) => newest(join(folder, name))));
const tool = nodeGyp();
if (existsSync(product) && statSync(product).mtimeMs > sources) {
  process.stdout.write('up to date\n');
} else if (tool === undefined) {
  fail('node-gyp was not found');
} else {
  // An addon that does not match its sources is worse than none.
  rmSync(product, { force: true });
  const prefix = dirname(dirname(process.execPath));
  const headers = existsSync(join(prefix, 'include', 'node', 'node_api.h')) ? [`--nodedir=${prefix}`] : [];
  const { status, error, stdout, stderr } = spawnSync(
    process.execPath,
    [tool, 'configure', 'build', '--release', ...headers],
    { cwd: folder, encoding: 'utf8' },
  );
  if (status === 0) {
    process.stdout.write('built\n');
  } else {
    process.stderr.write(`${stdout ?? ''}${stderr ?? ''}`);
    fail(error?.message ?? `node-gyp ended with exit code ${status}`);
  }
}
