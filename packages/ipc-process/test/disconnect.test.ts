/** What becomes of calls, proxies and clean-ups when a connection ends. */
import { expect, test } from 'vitest';
import { IpcError, PeerGoneError } from '@spanwire/ipc-core';
import { createIpc, RpcTarget, type Ipc, type IpcOptions, type RemoteInit } from '@spanwire/ipc-process';
import type { Service } from './fixtures/service.mjs';
import { deferred, fixture, rejection, startServer, temporaryFolder, testIpc } from './support.ts';

interface Spawned {
  readonly ipc: Ipc;
  readonly service: RemoteInit<Service>;
  readonly kill: () => boolean;
}

async function spawnService(options: IpcOptions = {}): Promise<Spawned> {
  const ipc = testIpc();
  const env = { ...process.env, OPTIONS: JSON.stringify(options) };
  const service = await ipc.spawnProcess<Service>(fixture('worker.mjs'), { env });
  return { ipc, service, kill: () => ipc.processOf(service).kill('SIGKILL') };
}

/** Starts a call that does not finish; resolves when it runs. */
async function startCall(service: RemoteInit<Service>): Promise<{ error: Promise<unknown> }> {
  const entered = deferred();
  const error = rejection(service.wait('never', () => entered.resolve()));
  await entered.promise;
  return { error };
}

test('a call in flight fails with "call interrupted by disconnect"', async () => {
  const { service, kill } = await spawnService();
  const call = await startCall(service);
  kill();
  const error = await call.error;
  expect(error).toBeInstanceOf(PeerGoneError);
  expect(error).toMatchObject({ code: 'ERR_IPC_PEER_GONE', message: 'Call interrupted by disconnect' });
});

test('a call after the disconnect fails with "called after disconnect"', async () => {
  const { ipc, service, kill } = await spawnService();
  const counter = await service.counter(1);
  kill();
  await ipc.processOf(service).exited;
  for (const call of [service.add(1, 2), counter.increment(), service.counter(1).increment(1)]) {
    const error = await rejection(call);
    expect(error).toBeInstanceOf(PeerGoneError);
    expect((error as Error).message).toBe('Called after disconnect');
  }
});

test('a call that the peer has answered before its end succeeds', async () => {
  const { ipc, service } = await spawnService();
  const answers = Array.from({ length: 100 }, (_, i) => service.add(i, i));
  const last = rejection(service.exitSoon(0));
  expect(await Promise.all(answers)).toEqual(answers.map((_, i) => 2 * i));
  expect(await last).toMatchObject({ message: 'Call interrupted by disconnect' });
  await ipc.processOf(service).exited;
});

test('many calls in flight all fail, each of them once', async () => {
  const { service, kill } = await spawnService();
  await startCall(service);
  const calls = Array.from({ length: 200 }, (_, i) => rejection(service.wait(`never ${i}`)));
  kill();
  for (const error of await Promise.all(calls)) expect(error).toMatchObject({ code: 'ERR_IPC_PEER_GONE' });
});

test('a disconnect in a nested callback fails every call of the nest', async () => {
  const { ipc, service } = await spawnService();
  const calls: Array<Promise<unknown>> = [];
  const bounce = (depth: number): PromiseLike<number> => {
    const call = service.bounce(callback, depth);
    calls.push(rejection(call));
    return call;
  };
  const callback = async (depth: number): Promise<number> => {
    if (depth > 0) return await bounce(depth);
    ipc.processOf(service).kill('SIGKILL');
    await ipc.processOf(service).exited;
    return 0;
  };
  void bounce(5);
  await ipc.processOf(service).exited;
  const messages = (await Promise.all(calls)).map((error) => (error as Error).message);
  expect(messages).toEqual(Array.from({ length: 5 }, () => 'Call interrupted by disconnect'));
});

test('disposing while calls are in flight fails them with ERR_IPC_CLOSED, and waits for them no longer than graceMs', async () => {
  const { service } = await spawnService({ graceMs: 50 });
  const call = await startCall(service);
  await service[Symbol.asyncDispose]();
  expect(await call.error).toMatchObject({ code: 'ERR_IPC_CLOSED', message: 'Call interrupted by disconnect' });
  expect(await rejection(service.add(1, 2))).toMatchObject({
    code: 'ERR_IPC_CLOSED',
    message: 'Called after disconnect',
  });
});

test('proxies can be disposed after the disconnect, in any order and more than once', async () => {
  const { ipc, service, kill } = await spawnService();
  const counter = await service.counter(1);
  const { list } = await service.counters();
  const numbers$ = await service.numbers();
  kill();
  await ipc.processOf(service).exited;
  counter[Symbol.dispose]();
  counter[Symbol.dispose]();
  for (const each of list) each[Symbol.dispose]();
  numbers$[Symbol.dispose]();
  await service[Symbol.asyncDispose]();
  await service[Symbol.asyncDispose]();
});

test('methods of the server that run finish, and what they return is dropped', async () => {
  const dataDir = temporaryFolder();
  await startServer('unix', dataDir);
  const ipc = testIpc({ dataDir });
  const leaver = (await ipc.connectAddress<Service>('unix'))!;
  const stayer = (await ipc.connectAddress<Service>('unix'))!;
  const entered = deferred();
  const interrupted = rejection(leaver.wait('gate', () => entered.resolve()));
  await entered.promise;
  await leaver[Symbol.asyncDispose]();
  expect(await interrupted).toBeInstanceOf(IpcError);
  expect(await stayer.finished()).toEqual([]);
  expect(await stayer.open('gate')).toBe(true);
  expect(await stayer.finished()).toEqual(['gate']);
});

test('objects that one connection held are disposed when it ends', async () => {
  const dataDir = temporaryFolder();
  await startServer('unix', dataDir);
  const ipc = testIpc({ dataDir });
  const leaver = (await ipc.connectAddress<Service>('unix'))!;
  const stayer = (await ipc.connectAddress<Service>('unix'))!;
  await Promise.all([leaver.counter(1), leaver.counters()]);
  const kept = await stayer.counter(1);
  expect(await stayer.disposals()).toBe(0);
  await leaver[Symbol.asyncDispose]();
  while ((await stayer.disposals()) < 3);
  expect(await stayer.disposals()).toBe(3);
  expect(await kept.increment()).toBe(2);
});

test('subscriptions of one connection end in the other process when it ends', async () => {
  const dataDir = temporaryFolder();
  await startServer('unix', dataDir);
  const ipc = testIpc({ dataDir });
  const leaver = (await ipc.connectAddress<Service>('unix'))!;
  const stayer = (await ipc.connectAddress<Service>('unix'))!;
  (await leaver.numbers()).subscribe({ error: () => undefined });
  await leaver.add(0, 0);
  expect(await stayer.subscribers()).toBe(1);
  await leaver[Symbol.asyncDispose]();
  await stayer.unsubscribed();
});

test('clean-ups run in the order they were added, after the connection is closed and the process reaped', async () => {
  const { ipc, service } = await spawnService();
  const { pid, exited } = ipc.processOf(service);
  const ran: string[] = [];
  const alive = (): boolean => {
    try {
      return process.kill(pid, 0);
    } catch {
      return false;
    }
  };
  ipc.addCleanup(service, async () => {
    ran.push(`one, process alive: ${alive()}`);
    ran.push(((await rejection(service.add(1, 1))) as Error).message);
  });
  ipc.addCleanup(service, () => ran.push('two'));
  ipc.addCleanup(service, () => ran.push('three'));
  void exited.then(() => ran.push('reaped'));
  await service[Symbol.asyncDispose]();
  expect(ran).toEqual(['reaped', 'one, process alive: false', 'Called after disconnect', 'two', 'three']);
  await service[Symbol.asyncDispose]();
  expect(ran).toHaveLength(5);
});

test('clean-ups do not run when the connection drops, but when the proxy is disposed afterwards', async () => {
  const { ipc, service, kill } = await spawnService();
  let ran = 0;
  ipc.addCleanup(service, () => ran++);
  kill();
  await ipc.processOf(service).exited;
  await rejection(service.add(1, 1));
  expect(ran).toBe(0);
  await service[Symbol.asyncDispose]();
  expect(ran).toBe(1);
});

test('every clean-up runs, also when others fail; what they threw is what disposing rejects with', async () => {
  const ipc = createIpc();
  const service = await ipc.spawnProcess<Service>(fixture('worker.mjs'));
  const failure = new Error('two');
  let three = false;
  ipc.addCleanup(service, () => undefined);
  ipc.addCleanup(service, () => Promise.reject(failure));
  ipc.addCleanup(service, () => (three = true));
  expect(await rejection(service[Symbol.asyncDispose]())).toBe(failure);
  expect(three).toBe(true);
  const other = await ipc.spawnProcess<Service>(fixture('worker.mjs'));
  for (const message of ['a', 'b']) {
    ipc.addCleanup(other, () => {
      throw new Error(message);
    });
  }
  expect(((await rejection(other[Symbol.asyncDispose]())) as AggregateError).errors).toMatchObject([
    { message: 'a' },
    { message: 'b' },
  ]);
  expect(() => ipc.addCleanup(other, () => undefined)).toThrow('Expected `proxy` to be in use');
  await ipc[Symbol.asyncDispose]();
});

test('a callback of this process that throws fails the call there, and nothing else', async () => {
  const { service } = await spawnService();
  class Own extends RpcTarget {
    increment(): number {
      throw new RangeError('not today');
    }
  }
  const own = new Own() as unknown as { increment(by: number): Promise<number> };
  expect(await rejection(service.incrementFor(own, 1))).toMatchObject({
    remote: { name: 'RemoteError', message: 'not today' },
  });
  expect(await service.add(1, 1)).toBe(2);
});
