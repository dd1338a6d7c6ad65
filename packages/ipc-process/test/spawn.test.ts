/** spawnProcess: finding and starting programs, and what becomes of them. */
import { execFileSync } from 'node:child_process';
import { chmodSync, mkdirSync, readFileSync, symlinkSync, writeFileSync, openSync, closeSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { SystemError, TimeoutError } from '@spanwire/ipc-core';
import { ProcessExitedError } from '@spanwire/ipc-process';
import type { Service } from './fixtures/service.mjs';
import { fixture, onLinux, rejection, temporaryFolder, testIpc } from './support.ts';

const workerPath = fileURLToPath(fixture('worker.mjs'));

test('a script is started by a file URL, an absolute path or a path relative to the current directory', async () => {
  const ipc = testIpc();
  const forms = [
    fixture('worker.mjs'),
    fixture('worker.mjs').href,
    workerPath,
    `./${relative(process.cwd(), workerPath)}`,
  ];
  const pids = await Promise.all(forms.map(async (form) => (await ipc.spawnProcess<Service>(form)).pid()));
  expect(new Set(pids).size).toBe(forms.length);
});

test('a bare name is found next to the running program, symbolic links resolved, its extension implied', () => {
  const folder = temporaryFolder();
  const program = join(folder, 'bin', 'main.mjs');
  mkdirSync(dirname(program));
  const index = import.meta.resolve('@spanwire/ipc-process');
  const source = (body: string): string => `import { createIpc, RpcTarget } from ${JSON.stringify(index)};\n${body}`;
  writeFileSync(
    program,
    source(`const ipc = createIpc();
      const side = await ipc.spawnProcess('side');
      console.log(await side.hello());
      await ipc[Symbol.asyncDispose]();`),
  );
  writeFileSync(
    join(dirname(program), 'side.mjs'),
    source(`class Side extends RpcTarget { hello() { return 'from the side'; } }
      const { exitStatus } = await createIpc({ init: new Side() }).startSpawnedProcess(process.argv);
      process.exit(exitStatus);`),
  );
  symlinkSync(program, join(folder, 'linked.mjs'));
  expect(execFileSync(process.execPath, [join(folder, 'linked.mjs')], { cwd: '/', encoding: 'utf8' })).toBe(
    'from the side\n',
  );
});

test.runIf(process.platform !== 'win32')('any executable can be spawned', async () => {
  const program = join(temporaryFolder(), 'run-worker');
  writeFileSync(program, `#!/bin/sh\nexec "${process.execPath}" "${workerPath}" "$@"\n`);
  chmodSync(program, 0o755);
  const service = await testIpc().spawnProcess<Service>(program);
  expect(await service.add(1, 2)).toBe(3);
});

test('a process gets exactly two arguments: the marker and the number of a descriptor', async () => {
  const service = await testIpc().spawnProcess<Service>(fixture('worker.mjs'));
  expect((await service.argv()).slice(2)).toEqual(['-ipcfd', '3']);
});

test('environment, current directory and arguments of Node are as given', async () => {
  const cwd = temporaryFolder();
  const service = await testIpc().spawnProcess<Service>(fixture('worker.mjs'), {
    env: { ...process.env, ANSWER: '42' },
    cwd,
    execArgv: ['--title=spanwire-worker'],
  });
  expect(await service.env('ANSWER')).toBe('42');
  expect(await service.cwd()).toBe(cwd);
});

test('its output can be piped, sent to a descriptor, or ignored', async () => {
  const ipc = testIpc();
  const path = join(temporaryFolder(), 'stderr');
  const descriptor = openSync(path, 'w');
  const service = await ipc.spawnProcess<Service>(fixture('worker.mjs'), { stdout: 'pipe', stderr: descriptor });
  closeSync(descriptor);
  const { stdout, stderr } = ipc.processOf(service);
  const written = text(stdout!);
  await service.print('quiet');
  await service[Symbol.asyncDispose]();
  expect(await written).toBe('quiet');
  expect(readFileSync(path, 'utf8')).toBe('QUIET');
  expect(stderr).toBeNull();
  const silent = await ipc.spawnProcess<Service>(fixture('worker.mjs'), { stdout: 'ignore', stderr: 'ignore' });
  await silent.print('nothing');
  expect(ipc.processOf(silent).stdout).toBeNull();
});

test('a program that does not exist is an error that names the places', async () => {
  const ipc = testIpc();
  const error = await rejection(ipc.spawnProcess('no-such-program'));
  expect(error).toBeInstanceOf(SystemError);
  expect(error).toMatchObject({ code: 'ERR_IPC_SYSTEM', syscall: 'spawn', errno: 'ENOENT' });
  expect((error as Error).message).toContain('no-such-program.mjs');
});

test.runIf(process.platform !== 'win32')('a program that cannot be executed is an error, not a hang', async () => {
  const ipc = testIpc();
  const folder = temporaryFolder();
  const text = join(folder, 'text');
  writeFileSync(text, 'not a program');
  expect(await rejection(ipc.spawnProcess(text))).toMatchObject({ code: 'ERR_IPC_SYSTEM', errno: 'EACCES' });
  const badInterpreter = join(folder, 'bad');
  writeFileSync(badInterpreter, '#!/no/such/interpreter\n');
  chmodSync(badInterpreter, 0o755);
  expect(await rejection(ipc.spawnProcess(badInterpreter))).toMatchObject({ code: 'ERR_IPC_SYSTEM', errno: 'ENOENT' });
});

test('a current directory that does not exist is named by the error', async () => {
  const error = await rejection(testIpc().spawnProcess(fixture('worker.mjs'), { cwd: '/no/such/folder' }));
  expect(error).toMatchObject({ code: 'ERR_IPC_SYSTEM', errno: 'ENOENT' });
  expect((error as Error).message).toContain('worker.mjs in `cwd` /no/such/folder failed: ENOENT');
});

test('a process that ends before it serves is an error with its exit code or signal', async () => {
  const ipc = testIpc();
  const byCode = await rejection(ipc.spawnProcess(fixture('exits.mjs'), { env: { ...process.env, CODE: '9' } }));
  expect(byCode).toBeInstanceOf(ProcessExitedError);
  expect(byCode).toMatchObject({ code: 'ERR_IPC_PEER_GONE', exit: { code: 9, signal: null } });
  const bySignal = await rejection(
    ipc.spawnProcess(fixture('exits.mjs'), { env: { ...process.env, SIGNAL: 'SIGTERM' } }),
  );
  expect(bySignal).toMatchObject({ exit: { code: null, signal: 'SIGTERM' } });
});

test('a process that does not serve in time is killed, and that is the error', async () => {
  const ipc = testIpc();
  const error = await rejection(ipc.spawnProcess(fixture('serves-nothing.mjs'), { startTimeoutMs: 500 }));
  expect(error).toBeInstanceOf(TimeoutError);
  expect((error as Error).message).toContain('serves-nothing.mjs did not serve within 500 ms');
});

test('until a process serves it has startTimeoutMs, and not handshakeTimeoutMs', async () => {
  const ipc = testIpc({ handshakeTimeoutMs: 1 });
  const service = await ipc.spawnProcess<Service>(fixture('worker.mjs'));
  expect(await service.add(1, 2)).toBe(3);
});

test('a process that closes its channel instead of serving is killed when it does not end', async () => {
  const ipc = testIpc();
  const options = { env: { ...process.env, CLOSE: '1' }, killAfterMs: 100 };
  expect(await rejection(ipc.spawnProcess(fixture('serves-nothing.mjs'), options))).toMatchObject({
    code: 'ERR_IPC_PEER_GONE',
  });
});

test('starting can be given up', async () => {
  const ipc = testIpc();
  const reason = new Error('changed my mind');
  expect(await rejection(ipc.spawnProcess(fixture('serves-nothing.mjs'), { signal: AbortSignal.abort(reason) }))).toBe(
    reason,
  );
  const controller = new AbortController();
  const spawning = rejection(ipc.spawnProcess(fixture('serves-nothing.mjs'), { signal: controller.signal }));
  setImmediate(() => controller.abort(reason));
  expect(await spawning).toBe(reason);
});

test('disposing the proxy ends the process, and resolves when it is reaped', async () => {
  const ipc = testIpc();
  const service = await ipc.spawnProcess<Service>(fixture('worker.mjs'));
  const spawned = ipc.processOf(service);
  await service[Symbol.asyncDispose]();
  // Reaped: the process id means nothing any more.
  expect(() => process.kill(spawned.pid, 0)).toThrow('ESRCH');
  expect(await spawned.exited).toEqual({ pid: spawned.pid, code: 0, signal: null });
});

test('await using disposes the proxy at the end of its block', async () => {
  const ipc = testIpc();
  let pid: number;
  {
    await using service = await ipc.spawnProcess<Service>(fixture('worker.mjs'));
    pid = await service.pid();
  }
  expect(() => process.kill(pid, 0)).toThrow('ESRCH');
});

test('a process that does not end when it is told to is killed after killAfterMs', async () => {
  const ipc = testIpc();
  const service = await ipc.spawnProcess<Service>(fixture('stays.mjs'), { killAfterMs: 100 });
  const spawned = ipc.processOf(service);
  await service[Symbol.asyncDispose]();
  expect(await spawned.exited).toMatchObject({ code: null, signal: 'SIGKILL' });
});

test('exit code and signal of a process that ends by itself are reported', async () => {
  const ipc = testIpc();
  const first = await ipc.spawnProcess<Service>(fixture('worker.mjs'));
  expect(await rejection(first.exit(5))).toMatchObject({ code: 'ERR_IPC_PEER_GONE' });
  expect(await ipc.processOf(first).exited).toMatchObject({ code: 5, signal: null });
  const second = await ipc.spawnProcess<Service>(fixture('worker.mjs'));
  expect(await rejection(second.killYourself('SIGUSR2'))).toMatchObject({ code: 'ERR_IPC_PEER_GONE' });
  expect(await ipc.processOf(second).exited).toMatchObject({ code: null, signal: 'SIGUSR2' });
});

test('calls that were made without waiting arrive before the connection is closed', async () => {
  const ipc = testIpc();
  const service = await ipc.spawnProcess<Service>(fixture('worker.mjs'), { stdout: 'pipe', stderr: 'ignore' });
  const written = text(ipc.processOf(service).stdout!);
  for (let i = 0; i < 100; i++) void service.print(`${i},`);
  await service[Symbol.asyncDispose]();
  expect(await written).toBe(Array.from({ length: 100 }, (_, i) => `${i},`).join(''));
});

test.runIf(onLinux)('neither side passes the channel on to processes it starts', async () => {
  const ipc = testIpc();
  // Two spawned at once, each before the other's channel is open: neither may have the other's end.
  const [one, other] = await Promise.all([
    ipc.spawnProcess<Service>(fixture('worker.mjs')),
    ipc.spawnProcess<Service>(fixture('worker.mjs')),
  ]);
  const inherited = await one.socketsOfAChild();
  const own = await one.sockets();
  const others = await other.sockets();
  const shared = own.filter((socket) => others.includes(socket));
  // What they share is what this process gave both, such as its standard error.
  expect(own.length - shared.length).toBe(1);
  expect(inherited.filter((socket) => own.includes(socket) && !shared.includes(socket))).toEqual([]);
});

test('options are checked at once', async () => {
  const ipc = testIpc();
  const spawn = (options: object): Promise<unknown> => rejection(ipc.spawnProcess(fixture('worker.mjs'), options));
  expect(await rejection(ipc.spawnProcess(''))).toMatchObject({
    message: 'Expected `program` to be a name, a path or a file URL, got ""',
  });
  expect(await spawn({ stdout: 'loud' })).toBeInstanceOf(TypeError);
  expect(await spawn({ startTimeoutMs: 0 })).toBeInstanceOf(RangeError);
  expect(await spawn({ restart: { delaysMs: [], max: 1 } })).toBeInstanceOf(TypeError);
  expect(await spawn({ restart: { delaysMs: [-1], max: 1 } })).toBeInstanceOf(RangeError);
  for (const options of [{ env: 5 }, { cwd: 5 }, { execArgv: '--title=x' }, { execArgv: [5] }, { signal: {} }]) {
    const error = await spawn(options);
    expect(error).toBeInstanceOf(TypeError);
    expect((error as Error).message).toMatch(/^Expected `(env|cwd|execArgv|signal)` to be an? .*, got /);
  }
  // What only Node knows to be impossible is a mistake all the same, not a failure of the system.
  expect(await spawn({ env: { ...process.env, BAD: 'a\0b' } })).toBeInstanceOf(TypeError);
  expect(await rejection(ipc.connectAddress('', { signal: {} as never }))).toBeInstanceOf(TypeError);
  expect(await spawn({ transport: 'pigeon' })).toMatchObject({
    message: 'Expected a transport out of unix, shm, got "pigeon"',
  });
  expect(() => testIpc({ init: {} as never })).toThrow('Expected `init` to be an object whose class extends RpcTarget');
  expect(() => testIpc({ transports: 5 as never })).toThrow('Expected `transports` to be an object');
  expect(() => testIpc({ errors: {} as never })).toThrow('Expected `errors` to be a list of classes that extend Error');
  expect(() => testIpc({ errors: [Date as never] })).toThrow('got a function in it');
  expect(() => testIpc({ errors: [class A extends Error {}, class A extends Error {}] })).toThrow('two called A');
  expect(() => ipc.processOf(ipc)).toThrow(
    'Expected `proxy` to be one that spawnProcess or connectAddress of this Ipc returned',
  );
});

test('a disposed Ipc starts nothing more, and its processes are gone', async () => {
  const ipc = testIpc();
  const service = await ipc.spawnProcess<Service>(fixture('worker.mjs'));
  const { pid } = ipc.processOf(service);
  const starting = rejection(ipc.spawnProcess<Service>(fixture('worker.mjs')));
  await ipc[Symbol.asyncDispose]();
  expect(() => process.kill(pid, 0)).toThrow('ESRCH');
  expect(await starting).toMatchObject({ code: 'ERR_IPC_CLOSED' });
  expect(await rejection(ipc.spawnProcess<Service>(fixture('worker.mjs')))).toMatchObject({ code: 'ERR_IPC_CLOSED' });
});
