/** connectAddress and listenAddress: what addresses mean, and who may connect. */
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { filter, firstValueFrom } from 'rxjs';
import { expect, onTestFinished, test } from 'vitest';
import { createSocketClient, createSocketServer } from '@spanwire/ipc-socket';
import { createIpc, RpcTarget, socketTransport } from '@spanwire/ipc-process';
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

test('listening makes the folders of the socket, which only this user can open', async () => {
  const dataDir = join(temporaryFolder(), 'a', 'b');
  const ipc = testIpc({ dataDir, init: new Init() });
  await using listening = await ipc.listenAddress('unix');
  expect(listening.address).toBe(`unix:${dataDir}/spanwire.sock`);
  expect(statSync(dataDir).mode & 0o777).toBe(0o700);
  expect(statSync(join(dataDir, 'spanwire.sock')).mode & 0o777).toBe(0o600);
});

test('a socket that was left behind is replaced; one that somebody answers on, and a file, are not', async () => {
  const dataDir = temporaryFolder();
  const ipc = testIpc({ dataDir, init: new Init() });
  const first = await startServer('unix', dataDir);
  expect(await rejection(ipc.listenAddress('unix'))).toMatchObject({ code: 'ERR_IPC_ADDRESS_IN_USE' });
  await first.kill('SIGKILL');
  const listening = await ipc.listenAddress('unix');
  await listening[Symbol.asyncDispose]();
  writeFileSync(join(dataDir, 'file.sock'), 'precious');
  expect(await rejection(ipc.listenAddress('unix:file.sock'))).toMatchObject({ code: 'ERR_IPC_ADDRESS_IN_USE' });
  expect(await rejection(ipc.listenAddress('unix:file.sock/below'))).toMatchObject({
    code: 'ERR_IPC_SYSTEM',
    syscall: 'mkdir',
  });
});

test('disposing what listens frees the address, and connections live on', async () => {
  const dataDir = temporaryFolder();
  const ipc = testIpc({ dataDir, init: new Init() });
  const listening = await ipc.listenAddress('unix');
  const init = await testIpc({ dataDir }).connectAddress<Init>('unix');
  await listening[Symbol.asyncDispose]();
  expect(existsSync(join(dataDir, 'spanwire.sock'))).toBe(false);
  expect(await init!.name()).toBe('init');
  await using again = await ipc.listenAddress('unix');
  expect(again.address).toBe(listening.address);
});

test('connections beyond the cap wait until one ends, and are not refused', async () => {
  const dataDir = temporaryFolder();
  await startServer('unix', dataDir, 2);
  const ipc = testIpc({ dataDir });
  const one = await ipc.connectAddress<Service>('unix');
  const two = await ipc.connectAddress<Service>('unix');
  const order: string[] = [];
  const three = ipc.connectAddress<Service>('unix').then((service) => {
    order.push('three');
    return service;
  });
  const four = ipc.connectAddress<Service>('unix').then((service) => {
    order.push('four');
    return service;
  });
  expect(await one!.add(1, 1)).toBe(2);
  expect(order).toEqual([]);
  await one![Symbol.asyncDispose]();
  expect(await (await three)!.add(1, 2)).toBe(3);
  expect(order).toEqual(['three']);
  await two![Symbol.asyncDispose]();
  expect(await (await four)!.add(2, 2)).toBe(4);
});

test('one who waits for a connection can give up, and the next takes its place', async () => {
  const dataDir = temporaryFolder();
  await startServer('unix', dataDir, 1);
  const ipc = testIpc({ dataDir });
  const one = await ipc.connectAddress<Service>('unix');
  const controller = new AbortController();
  const reason = new Error('too long');
  const gaveUp = rejection(ipc.connectAddress('unix', { signal: controller.signal }));
  const patient = ipc.connectAddress<Service>('unix');
  await one!.add(1, 1);
  controller.abort(reason);
  expect(await gaveUp).toBe(reason);
  await one![Symbol.asyncDispose]();
  expect(await (await patient)!.add(1, 2)).toBe(3);
});

test('disposing the proxy of a connection ends that connection only: the init lives on', async () => {
  const dataDir = temporaryFolder();
  await startServer('unix', dataDir);
  const ipc = testIpc({ dataDir });
  const [one, two] = await Promise.all([ipc.connectAddress<Service>('unix'), ipc.connectAddress<Service>('unix')]);
  await one!.append('one was here', 0);
  await one![Symbol.asyncDispose]();
  expect(await two!.log()).toEqual(['one was here']);
});

test('an init that has a disposer is not disposed by those who disconnect', async () => {
  let disposed = 0;
  class Precious extends Init {
    [Symbol.dispose](): void {
      disposed++;
    }
  }
  const dataDir = temporaryFolder();
  const ipc = testIpc({ dataDir, init: new Precious() });
  await using listening = await ipc.listenAddress('unix');
  for (let i = 0; i < 3; i++) {
    await using init = (await testIpc().connectAddress<Init>(listening.address))!;
    expect(await init.name()).toBe('init');
  }
  await ipc.disconnectIncoming();
  expect(disposed).toBe(0);
});

test('everybody in a process has the same context', async () => {
  const dataDir = temporaryFolder();
  await startServer('unix', dataDir);
  const service = await testIpc({ dataDir }).connectAddress<Service>('unix');
  expect(await service!.context()).toEqual({ name: 'of the server' });
  const context = { answer: 42 };
  const ipc = createIpc({ context });
  expect(ipc.context).toBe(context);
});

test('disconnectIncoming drops all who connected and waits for their calls; the process and its address live on', async () => {
  const dataDir = temporaryFolder();
  const gates = new Map<string, () => void>();
  let finished = 0;
  class Gated extends RpcTarget {
    async wait(name: string, entered: () => void): Promise<void> {
      entered();
      await new Promise<void>((resolve) => gates.set(name, resolve));
      finished++;
    }
  }
  const ipc = testIpc({ dataDir, init: new Gated() });
  await using listening = await ipc.listenAddress('unix');
  const caller = spawn(process.execPath, [fileURLToPath(fixture('caller.mjs')), listening.address]);
  caller.stderr.pipe(process.stderr);
  const exited = once(caller, 'exit');
  const lines = createInterface({ input: caller.stdout })[Symbol.asyncIterator]();
  const line = async (): Promise<unknown> => (await lines.next()).value as unknown;
  expect(await line()).toBe('connected');
  caller.stdin.write('wait\n');
  expect(await line()).toBe('entered');

  let drained = false;
  const disconnected = ipc.disconnectIncoming().then(() => (drained = true));
  expect(await line()).toBe('Call interrupted by disconnect');
  expect(drained).toBe(false);
  expect(finished).toBe(0);
  gates.get('gate')!();
  await disconnected;
  expect(finished).toBe(1);
  caller.stdin.end();
  await exited;
  expect(await testIpc({ dataDir }).connectAddress('unix')).not.toBeNull();
});

test('disconnectIncoming leaves the parent connected', async () => {
  const dataDir = temporaryFolder();
  const service = await testIpc().spawnProcess<Service & { listen(address: string): string; drop(): void }>(
    fixture('listening-worker.mjs'),
    { env: { ...process.env, DATA_DIR: dataDir } },
  );
  await service.listen('unix');
  const client = testIpc({ dataDir });
  const other = await client.connectAddress<Service>('unix');
  expect(await other!.add(1, 1)).toBe(2);
  await service.drop();
  expect(await rejection(other!.add(1, 1))).toMatchObject({ code: 'ERR_IPC_PEER_GONE' });
  expect(await service.add(2, 2)).toBe(4);
});

test('who speaks another protocol is refused, on both sides', async () => {
  const dataDir = temporaryFolder();
  const warnings: string[] = [];
  const ipc = testIpc({ dataDir, init: new Init(), onWarning: (message) => warnings.push(message) });
  await using listening = await ipc.listenAddress('unix');
  const client = createSocketClient(listening.address);
  await client.connect();
  expect(await rejection(client.request(new Uint8Array(1)))).toMatchObject({ code: 'ERR_IPC_PEER_GONE' });
  await client.close();
  expect(warnings).toEqual([`A connection to ${listening.address} was refused`]);
  const server = createSocketServer(`unix:${dataDir}/plain.sock`);
  server.respond((_id, request) => request);
  await server.listen();
  expect(await rejection(testIpc({ dataDir }).connectAddress('unix:plain.sock'))).toMatchObject({
    code: 'ERR_IPC_PROTOCOL',
  });
  await server.close();
});
