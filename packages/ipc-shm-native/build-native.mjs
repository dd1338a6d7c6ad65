// Builds the addon with node-gyp: as the install script of this package, and before the compiler in its repository. Does nothing when
// there is an addon that is newer than its sources and loads. A machine that cannot build it still gets everything else: the failure is
// reported, and the loader says ERR_IPC_NATIVE_UNAVAILABLE when the addon is used.
//   --strict   a failure is an exit code, too
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, rmSync, statSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const folder = dirname(fileURLToPath(import.meta.url));
const product = join(folder, 'build', 'Release', 'spanwire.node');
const strict = process.argv.includes('--strict');
const onWindows = process.platform === 'win32';
const require = createRequire(import.meta.url);

/** The newest change below `path`, as milliseconds. @param {string} path @returns {number} */
function newest(path) {
  const status = statSync(path);
  if (!status.isDirectory()) return status.mtimeMs;
  return Math.max(...readdirSync(path).map((name) => newest(join(path, name))));
}

/** Whether there is nothing to do. One that does not load may be of another system: folders get copied. */
function isUpToDate() {
  const sources = Math.max(...['binding.gyp', 'native'].map((name) => newest(join(folder, name))));
  if (!existsSync(product) || statSync(product).mtimeMs <= sources) return false;
  try {
    require(product);
    return true;
  } catch {
    return false;
  }
}

/** The node-gyp that the package manager brings, else the one of this package, else that of the PATH. @returns {[string, ...string[]]} */
function nodeGyp() {
  const brought = process.env['npm_config_node_gyp'];
  if (brought !== undefined && existsSync(brought)) return [process.execPath, brought];
  try {
    return [process.execPath, require.resolve('node-gyp/bin/node-gyp.js')];
  } catch {
    return ['node-gyp'];
  }
}

/** The headers of the running Node, so that none are downloaded. A `nodedir` that the user has set goes before. */
function headers() {
  const prefix = dirname(dirname(process.execPath));
  const areThere = existsSync(join(prefix, 'include', 'node', 'node_api.h'));
  return areThere && process.env['npm_config_nodedir'] === undefined ? [`--nodedir=${prefix}`] : [];
}

/** What node-gyp calls and is not there. */
function missing() {
  if (onWindows) return [];
  const { CXX = 'c++', MAKE = 'make', PYTHON = process.env['npm_config_python'] ?? 'python3' } = process.env;
  return [CXX, MAKE, PYTHON]
    .map((command) => command.split(' ')[0] ?? command)
    .filter((program) => spawnSync(program, ['--version'], { stdio: 'ignore' }).error !== undefined);
}

/** @param {string} reason */
function fail(reason) {
  const absent = missing();
  process.stderr.write(
    `@spanwire/ipc-shm-native was not built: ${reason}. Shared memory is not available here; sockets are.\n` +
      `Needed: a C++20 compiler, make and Python 3${absent.length > 0 ? ` (not found: ${absent.join(', ')})` : ''}, and the headers of ` +
      'Node. Then: npm explore @spanwire/ipc-shm-native -- npm run build:native -- --strict\n',
  );
  process.exitCode = strict ? 1 : 0;
}

function build() {
  // An addon that does not match its sources is worse than none.
  rmSync(product, { force: true });
  const [program, ...first] = nodeGyp();
  const { status, error, stdout, stderr } = spawnSync(
    program,
    [...first, 'configure', 'build', '--release', ...headers()],
    { cwd: folder, encoding: 'utf8', shell: onWindows && first.length === 0 },
  );
  if (status === 0) {
    process.stdout.write('built\n');
  } else {
    process.stderr.write(`${stdout ?? ''}${stderr ?? ''}`);
    fail(error === undefined ? `node-gyp ended with exit code ${status}` : `node-gyp did not start: ${error.message}`);
  }
}

try {
  if (isUpToDate()) process.stdout.write('up to date\n');
  else build();
} catch (error) {
  fail(String(error));
}
