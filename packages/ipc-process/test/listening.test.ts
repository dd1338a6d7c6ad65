/** listenAddress and disconnectIncoming: who may connect, and who is dropped. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { createSocketClient, createSocketServer } from '@spanwire/ipc-socket';
import { createIpc, RpcTarget } from '@spanwire/ipc-process';
import type { Service } from './fixtures/service.mjs';
import { fixture, rejection, startServer, temporaryFolder, testIpc } from './support.ts';

class Init extends RpcTarget {
  name(): string {
    return 'init';
  }
}

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
