// What a user does: installs the packed packages into an empty folder, compiles against them, imports each export, and
// calls over shared memory with the addon that the installation built. Works without a network: what the packages need is
// packed from node_modules.
import { existsSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { pack, withTemporaryFolder } from './pack.mjs';
import { capture } from './run.mjs';
import { reasonToSkip } from './verify-steps.mjs';
import { environment, readJson, root, workspaces } from './workspace.mjs';

/** @typedef {import('./workspace.mjs').Manifest} Manifest */

/**
 * Where `name` is installed for a package in `folder`.
 *
 * @param {string} name
 * @param {string} folder
 * @returns {string}
 */
function locate(name, folder) {
  const path = join(folder, 'node_modules', name);
  if (existsSync(join(path, 'package.json'))) return path;
  if (folder === dirname(folder)) throw new Error(`${name}: not installed`);
  return locate(name, dirname(folder));
}

/**
 * The folders of all packages that an installation of `start` brings along, without our own.
 *
 * @param {{ path: string, manifest: Manifest }[]} start
 * @returns {Set<string>}
 */
function closure(start) {
  /** @type {Set<string>} */
  const folders = new Set();
  const queue = [...start];
  for (const { path, manifest } of queue) {
    const required = Object.keys(manifest.peerDependencies ?? {}).filter(
      (name) => manifest.peerDependenciesMeta?.[name]?.optional !== true,
    );
    for (const name of [...Object.keys(manifest.dependencies ?? {}), ...required]) {
      const folder = locate(name, path);
      if (name.startsWith('@spanwire/') || folders.has(folder)) continue;
      folders.add(folder);
      queue.push({ path: folder, manifest: readJson(join(folder, 'package.json')) });
    }
  }
  return folders;
}

/** A server and a client in one process, with an address of their own. */
const roundTrip = `
  import { createShmClient, createShmServer, isShmAvailable } from '@spanwire/ipc-shm-native';
  if (!isShmAvailable()) throw new Error('Expected an addon that the installation built, got none');
  const address = 'shm:' + process.cwd() + '/consumer.sock';
  const server = createShmServer(address);
  server.respond((_clientId, request) => request);
  await server.listen();
  const client = createShmClient(address);
  await client.connect();
  console.log(Buffer.from(await client.request(Buffer.from('there and back'), { timeoutMs: 30_000 })).toString());
  await client.close();
  await server.close();
`;

withTemporaryFolder((temporary) => {
  const packages = workspaces().filter(({ manifest }) => manifest.private !== true);
  const tarballs = join(temporary, 'tarballs');
  const consumer = join(temporary, 'consumer');
  mkdirSync(tarballs);
  mkdirSync(consumer);

  const packed = [...packages.map(({ path }) => path), ...closure(packages)].map((path) => pack(path, tarballs));
  const manifest = {
    private: true,
    type: 'module',
    dependencies: Object.fromEntries(packed.map(({ name, path }) => [name, `file:${path}`])),
  };
  writeFileSync(join(consumer, 'package.json'), JSON.stringify(manifest));
  // As a user's npm: without the settings of this repository, which npm hands on to what it runs, and with nothing in its cache.
  const settings = Object.entries(environment).filter(([name]) => !name.toLowerCase().startsWith('npm_'));
  const env = { ...Object.fromEntries(settings), npm_config_cache: join(temporary, 'cache') };
  capture('npm', ['install', '--offline', '--no-audit', '--no-fund'], { cwd: consumer, env });

  const entries = packages.flatMap((workspace) =>
    Object.keys(workspace.manifest.exports ?? {}).map((key) => workspace.manifest.name + key.slice(1)),
  );
  const imports = entries.map((entry, index) => `import * as entry${index} from '${entry}';`);
  const exported = entries.map((entry, index) => `['${entry}', entry${index}]`);

  // Vitest is an optional peer of ./testing alone, so everything else must load while it is absent.
  const load = (/** @type {string[]} */ names) =>
    capture('node', ['--input-type=module', '--eval', names.map((name) => `await import('${name}');`).join('\n')], {
      cwd: consumer,
    });
  load(entries.filter((entry) => !entry.endsWith('/testing')));
  const builds = { name: 'the addon', needs: ['platform:linux', 'c++', 'make', 'python3'], command: 'true' };
  const reason = reasonToSkip(builds, { short: false });
  if (reason === undefined) {
    const said = capture('node', ['--input-type=module', '--eval', roundTrip], { cwd: consumer });
    if (said !== 'there and back\n') throw new Error(`Expected the request as its answer, got ${said}`);
  }
  symlinkSync(join(root, 'node_modules', 'vitest'), join(consumer, 'node_modules', 'vitest'));
  load(entries);

  // A strict project. It cannot check declarations themselves: those of capnweb, which ipc-process shows to its users, do not pass.
  writeFileSync(join(consumer, 'main.ts'), [...imports, `export const all = [${exported.join(', ')}];`, ''].join('\n'));
  const compilerOptions = {
    target: 'es2022',
    lib: ['es2023', 'esnext.disposable'],
    module: 'nodenext',
    strict: true,
    exactOptionalPropertyTypes: true,
    noEmit: true,
    skipLibCheck: true,
    types: ['node'],
    typeRoots: [join(root, 'node_modules', '@types')],
  };
  writeFileSync(join(consumer, 'tsconfig.json'), JSON.stringify({ compilerOptions, files: ['main.ts'] }));
  capture('tsc', ['-p', consumer]);
  const addon = reason === undefined ? 'the addon was built, and called' : `no addon (${reason})`;
  console.log(`           ${entries.length} entries of ${packages.length} packages; ${addon}`);
});
