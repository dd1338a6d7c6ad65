/** What addresses mean, for those who connect, those who listen, and the calls of spawned processes. */
import { execFileSync } from 'node:child_process';
import { existsSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { filter, firstValueFrom } from 'rxjs';
import { expect, onTestFinished, test } from 'vitest';
import { RpcTarget, socketTransport } from '@spanwire/ipc-process';
import type { Service } from './fixtures/service.mjs';
import { fixture, onLinux, rejection, startServer, temporaryFolder, testIpc } from './support.ts';

class Init extends RpcTarget {
  name(): string {
    return 'init';
  }
}

test('"" and "0" mean no connection', async () => {
  const ipc = testIpc();
  expect(await ipc.connectAddress('')).toBeNull();
  expect(await ipc.connectAddress('0')).toBeNull();
});

test('"unix" is the default socket in the data directory, and is reported in full', async () => {
  const dataDir = temporaryFolder();
  const { address, pid } = await startServer('unix', dataDir);
  expect(address).toBe(`unix:${dataDir}/spanwire.sock`);
  const ipc = testIpc({ dataDir });
  const service = await ipc.connectAddress<Service>('unix');
  expect(await service!.pid()).toBe(pid);
  expect(ipc.addressOf(service!)).toBe(address);
});

test('"unix:PATH" is relative to the data directory unless it is absolute', async () => {
  const dataDir = temporaryFolder();
  const { address } = await startServer('unix:deep/er/x.sock', dataDir);
  expect(address).toBe(`unix:${dataDir}/deep/er/x.sock`);
  const ipc = testIpc({ dataDir });
  expect(ipc.addressOf((await ipc.connectAddress('unix:deep/er/x.sock'))!)).toBe(address);
  const elsewhere = testIpc({ dataDir: '/nowhere' });
  expect(elsewhere.addressOf((await elsewhere.connectAddress(address))!)).toBe(address);
});

test('"auto" connects as "unix" does', async () => {
  const dataDir = temporaryFolder();
  const { address, pid } = await startServer('unix', dataDir);
  const ipc = testIpc({ dataDir });
  const service = await ipc.connectAddress<Service>('auto');
  expect(await service!.pid()).toBe(pid);
  expect(ipc.addressOf(service!)).toBe(address);
});

test('"auto" is null when nobody listens, whatever the reason', async () => {
  const folder = temporaryFolder();
  const nobody = (dataDir: string): Promise<unknown> => testIpc({ dataDir }).connectAddress('auto');
  expect(await nobody(folder)).toBeNull(); // ENOENT
  expect(await nobody(join(folder, 'missing', 'folder'))).toBeNull(); // ENOENT
  writeFileSync(join(folder, 'file'), '');
  expect(await nobody(join(folder, 'file'))).toBeNull(); // ENOTDIR
  expect(await nobody(join(folder, 'x'.repeat(200)))).toBeNull(); // too long
  const server = await startServer('unix', folder);
  await server.kill('SIGKILL');
  expect(existsSync(join(folder, 'spanwire.sock'))).toBe(true);
  expect(await nobody(folder)).toBeNull(); // ECONNREFUSED
});

test('"unix" is an error where "auto" is null', async () => {
  const folder = temporaryFolder();
  expect(await rejection(testIpc({ dataDir: folder }).connectAddress('unix'))).toMatchObject({
    code: 'ERR_IPC_PEER_GONE',
  });
  expect(await rejection(testIpc({ dataDir: join(folder, 'x'.repeat(200)) }).connectAddress('unix'))).toBeInstanceOf(
    RangeError,
  );
});

test('"auto" throws on any other failure', async () => {
  const dataDir = temporaryFolder();
  // Somebody listens, and is not a session.
  const server = createServer((socket) => socket.end('go away, this is not the service you are looking for'));
  await new Promise<void>((resolve) => server.listen(join(dataDir, 'spanwire.sock'), resolve));
  onTestFinished(() => void server.close());
  expect(await rejection(testIpc({ dataDir }).connectAddress('auto'))).toMatchObject({ code: 'ERR_IPC_PROTOCOL' });
});

test('an unknown scheme throws, and so does what is no address', async () => {
  const ipc = testIpc({ dataDir: '/tmp', init: new Init() });
  for (const address of ['tcp:localhost:1', 'http://x', 'foo:bar', 'unixy', '1', 'auto:x']) {
    expect(await rejection(ipc.connectAddress(address))).toBeInstanceOf(TypeError);
    expect(await rejection(ipc.listenAddress(address))).toBeInstanceOf(TypeError);
  }
  for (const address of ['', '0', 'auto']) {
    expect(await rejection(ipc.listenAddress(address))).toBeInstanceOf(TypeError);
  }
  expect(await rejection(testIpc().connectAddress('unix'))).toMatchObject({
    message: 'Expected `dataDir` to be given for the address "unix", got undefined',
  });
});

test.runIf(onLinux)('"shm:name" is shared memory', async () => {
  const name = `shm:spanwire-process-test-${process.pid}`;
  const { address, pid } = await startServer(name, temporaryFolder());
  expect(address).toBe(name);
  const ipc = testIpc();
  const service = (await ipc.connectAddress<Service>(name))!;
  expect(await service.pid()).toBe(pid);
  expect(ipc.addressOf(service)).toBe(name);
  expect(await service.callMe((value) => value * 2, 4)).toBe(9);
  const bytes = new Uint8Array(5_000_000).fill(7);
  expect(Buffer.from((await service.echo(bytes)) as Uint8Array).equals(bytes)).toBe(true);
});

test('shared memory that is not installed is an error that says so, before anything is started', () => {
  const refuse = `export const resolve = (specifier, context, next) => {
    if (specifier === '@spanwire/ipc-shm-native') throw new Error('not installed');
    return next(specifier, context);
  };`;
  const register = `import { register } from 'node:module'; register('data:text/javascript,' + ${JSON.stringify(encodeURIComponent(refuse))});`;
  const output = execFileSync(
    process.execPath,
    ['--import', `data:text/javascript,${encodeURIComponent(register)}`, fileURLToPath(fixture('no-shm.mjs'))],
    { encoding: 'utf8' },
  );
  expect(output.trim().split('\n')).toEqual(Array.from({ length: 3 }, () => 'ERR_IPC_NATIVE_UNAVAILABLE'));
});

test('more transports are had by the scheme of their addresses', async () => {
  const transports = { tcp: socketTransport };
  const server = testIpc({ init: new Init(), transports });
  await using listening = await server.listenAddress('tcp:127.0.0.1:0');
  const client = testIpc({ transports });
  const init = await client.connectAddress<Init>(listening.address);
  expect(listening.address).toMatch(/^tcp:127\.0\.0\.1:[1-9]/);
  expect(await init!.name()).toBe('init');
});

test.each(onLinux ? ['unix', 'shm'] : ['unix'])(
  'the calls of a spawned process can go over %s, negotiated over the inherited channel',
  async (transport) => {
    const ipc = testIpc();
    const service = await ipc.spawnProcess<Service>(fixture('worker.mjs'), { transport });
    expect(await service.callMe((value) => value + 1, 1)).toBe(3);
    const bytes = new Uint8Array(3_000_000).fill(9);
    expect(Buffer.from((await service.echo(bytes)) as Uint8Array).equals(bytes)).toBe(true);
    const spawned = ipc.processOf(service);
    await service[Symbol.asyncDispose]();
    expect(await spawned.exited).toMatchObject({ code: 0, signal: null });
  },
);

test.each(onLinux ? ['unix', 'shm'] : ['unix'])(
  'the end of a process whose calls go over %s is noticed as any other',
  async (transport) => {
    const ipc = testIpc();
    const service = await ipc.spawnProcess<Service>(fixture('worker.mjs'), {
      transport,
      restart: { delaysMs: [0], max: 1 },
    });
    const spawned = ipc.processOf(service);
    const call = rejection(service.killYourself('SIGKILL'));
    expect(await call).toMatchObject({ code: 'ERR_IPC_PEER_GONE' });
    await firstValueFrom(spawned.state$.pipe(filter((state) => state.status === 'running' && state.restarts === 1)));
    expect(await service.add(1, 2)).toBe(3);
  },
);
