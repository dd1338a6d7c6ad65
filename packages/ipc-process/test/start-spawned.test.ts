/** startSpawnedProcess: the spawned side, and what becomes of it when its parent goes. */
import { spawn, spawnSync, type ChildProcessWithoutNullStreams } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { expect, onTestFinished, test } from 'vitest';
import { RpcTarget } from '@spanwire/ipc-process';
import type { Service } from './fixtures/service.mjs';
import { fixture, rejection, testIpc } from './support.ts';

class Nothing extends RpcTarget {}

test('without the marker nothing is served and nothing is touched', async () => {
  const ipc = testIpc({ init: new Nothing() });
  const before = { exitCode: process.exitCode, listeners: process.listenerCount('SIGINT') };
  const forms = [
    [],
    ['node', 'script'],
    ['node', 'script', '-ipcfd'],
    ['node', 'script', '-other', '3'],
    ['node', 'script', '-ipcfd', '3', 'more'],
  ];
  for (const argv of forms) expect(await ipc.startSpawnedProcess(argv)).toEqual({ served: false, exitStatus: 1 });
  expect({ exitCode: process.exitCode, listeners: process.listenerCount('SIGINT') }).toEqual(before);
});

test('a malformed descriptor number throws', async () => {
  const ipc = testIpc({ init: new Nothing() });
  for (const number of ['', 'x', '-1', '3.0', '3x', ' 3', '0x3', '99999999999', '4294967299']) {
    expect(await rejection(ipc.startSpawnedProcess(['node', 'script', '-ipcfd', number]))).toBeInstanceOf(TypeError);
  }
});

test('a descriptor that is no socket is an error', () => {
  // In a process of its own, where the number surely means nothing.
  const result = spawnSync(process.execPath, [fileURLToPath(fixture('worker.mjs')), '-ipcfd', '77'], {
    encoding: 'utf8',
  });
  expect(result.status).toBe(1);
  expect(result.stderr).toContain('Expected descriptor 77 to be an inherited socket, got EBADF');
});

test('there has to be an init to serve', async () => {
  expect(await rejection(testIpc().startSpawnedProcess(['node', 'script', '-ipcfd', '3']))).toBeInstanceOf(TypeError);
});

test('a process that ends while it serves has failed, unless it says otherwise', async () => {
  const ipc = testIpc();
  const service = await ipc.spawnProcess<Service>(fixture('worker.mjs'));
  expect(await rejection(service.leave())).toMatchObject({ code: 'ERR_IPC_PEER_GONE' });
  expect(await ipc.processOf(service).exited).toMatchObject({ code: 1, signal: null });
});

interface Family {
  readonly parent: ChildProcessWithoutNullStreams;
  readonly parentPid: number;
  readonly childPid: number;
  readonly line: () => Promise<string | undefined>;
  /** Resolves when both have ended. */
  readonly bothGone: Promise<unknown>;
}

async function startFamily(env: NodeJS.ProcessEnv = {}): Promise<Family> {
  const parent = spawn(process.execPath, [fileURLToPath(fixture('parent.mjs'))], {
    env: { ...process.env, ...env },
    // A process group of its own, to be interrupted together as the terminal does it.
    detached: true,
  });
  parent.stderr.pipe(process.stderr);
  const bothGone = once(parent.stdout, 'close');
  onTestFinished(async () => {
    parent.kill('SIGKILL');
    await bothGone;
  });
  const lines = createInterface({ input: parent.stdout })[Symbol.asyncIterator]();
  const line = async (): Promise<string | undefined> => (await lines.next()).value as string | undefined;
  const [parentPid = 0, childPid = 0] = (await line())!.split(' ').map(Number);
  return { parent, parentPid, childPid, line, bothGone };
}

test('the process ends when its parent is killed, which it learns from the channel alone', async () => {
  const { parent, bothGone } = await startFamily();
  parent.kill('SIGKILL');
  await bothGone;
});

test('the process ends when its parent is killed in the middle of calls in both directions', async () => {
  const { parent, line, bothGone } = await startFamily();
  parent.stdin.write('busy\n');
  expect(await line()).toBe('busy');
  parent.kill('SIGKILL');
  await bothGone;
});

test('the process ends when its parent exits without disposing anything', async () => {
  const { parent, bothGone } = await startFamily();
  parent.stdin.write('exit\n');
  await bothGone;
});

test('the end of the process does not end its parent', async () => {
  const { parent, childPid, line } = await startFamily();
  const exited = once(parent, 'exit');
  process.kill(childPid, 'SIGKILL');
  parent.stdin.write('busy\n');
  expect(await line()).toBe('busy');
  expect(parent.exitCode).toBeNull();
  parent.stdin.end();
  expect(await exited).toEqual([0, null]);
});

test.runIf(process.platform !== 'win32')(
  'an interrupt of both leaves the process alive until its parent has decided',
  async () => {
    const { parent, line, bothGone, parentPid } = await startFamily({ ON_INTERRUPT: 'dispose' });
    const exited = once(parent, 'exit');
    process.kill(-parentPid, 'SIGINT');
    expect(await line()).toBe('still there: 3');
    expect(await exited).toEqual([0, null]);
    await bothGone;
  },
);

test.runIf(process.platform !== 'win32')('an interrupt of both that the parent does not handle ends both', async () => {
  const { parent, bothGone, parentPid } = await startFamily();
  const exited = once(parent, 'exit');
  process.kill(-parentPid, 'SIGINT');
  expect(await exited).toEqual([null, 'SIGINT']);
  await bothGone;
});
