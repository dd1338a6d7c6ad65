/** Processes that are started again. */
import { join } from 'node:path';
import { firstValueFrom, filter, toArray, lastValueFrom } from 'rxjs';
import { expect, test } from 'vitest';
import type { ProcessState, RemoteInit, SpawnedProcess, SpawnOptions } from '@spanwire/ipc-process';
import type { Service } from './fixtures/service.mjs';
import { deferred, fixture, rejection, temporaryFolder, testIpc } from './support.ts';

async function spawnRestarting(
  options: SpawnOptions,
): Promise<{ service: RemoteInit<Service>; spawned: SpawnedProcess }> {
  const ipc = testIpc();
  const service = await ipc.spawnProcess<Service>(fixture('worker.mjs'), options);
  return { service, spawned: ipc.processOf(service) };
}

function running(spawned: SpawnedProcess, restarts: number): Promise<ProcessState> {
  return firstValueFrom(
    spawned.state$.pipe(filter((state) => state.status === 'running' && state.restarts === restarts)),
  );
}

test('a process that was killed is started again, and the same proxy calls the new one', async () => {
  const { service, spawned } = await spawnRestarting({ restart: { delaysMs: [0], max: 3 } });
  const seen: string[] = [];
  spawned.state$.subscribe((state) => seen.push(state.status));
  const first = await service.pid();
  spawned.kill('SIGKILL');
  await running(spawned, 1);
  const second = await service.pid();
  expect(second).not.toBe(first);
  expect(spawned.pid).toBe(second);
  expect(seen).toEqual(['running', 'restarting', 'running']);
});

test('calls in flight fail and are not repeated; calls until it runs again fail at once', async () => {
  const { service, spawned } = await spawnRestarting({ restart: { delaysMs: [50], max: 1 } });
  let calls = 0;
  const entered = deferred();
  const inFlight = rejection(
    service.wait('gate', () => {
      calls++;
      entered.resolve();
    }),
  );
  await entered.promise;
  spawned.kill('SIGKILL');
  expect(await inFlight).toMatchObject({ code: 'ERR_IPC_PEER_GONE', message: 'Call interrupted by disconnect' });
  expect(await rejection(service.add(1, 1))).toMatchObject({
    code: 'ERR_IPC_PEER_GONE',
    message: 'Called after disconnect',
  });
  await running(spawned, 1);
  expect(await service.add(1, 1)).toBe(2);
  expect(calls).toBe(1);
});

test('what was got from the process before it was restarted stays broken', async () => {
  const { service, spawned } = await spawnRestarting({ restart: { delaysMs: [0], max: 1 } });
  const counter = await service.counter(1);
  spawned.kill('SIGKILL');
  await running(spawned, 1);
  expect(await rejection(counter.increment())).toMatchObject({ message: 'Called after disconnect' });
  expect(await (await service.counter(1)).increment()).toBe(2);
});

test('the Observable tells exit, delay and number of every restart, then the last exit, and completes', async () => {
  const { service, spawned } = await spawnRestarting({ restart: { delaysMs: [0, 5], max: 3 } });
  const states = lastValueFrom(spawned.state$.pipe(toArray()));
  for (let restarts = 0; restarts <= 3; restarts++) {
    await running(spawned, restarts);
    await rejection(service.exit(20 + restarts));
  }
  const told = (await states).map((state) => ({
    status: state.status,
    restarts: state.restarts,
    ...(state.status === 'running' ? {} : { code: state.exit.code }),
    ...(state.status === 'restarting' ? { delayMs: state.delayMs } : {}),
  }));
  expect(told).toEqual([
    { status: 'running', restarts: 0 },
    { status: 'restarting', restarts: 1, code: 20, delayMs: 0 },
    { status: 'running', restarts: 1 },
    { status: 'restarting', restarts: 2, code: 21, delayMs: 5 },
    { status: 'running', restarts: 2 },
    { status: 'restarting', restarts: 3, code: 22, delayMs: 5 },
    { status: 'running', restarts: 3 },
    { status: 'exited', restarts: 3, code: 23 },
  ]);
  expect(await spawned.exited).toMatchObject({ code: 23 });
  expect(await rejection(service.add(1, 1))).toMatchObject({ message: 'Called after disconnect' });
});

test('who subscribes after the end is told how it ended, and completes', async () => {
  const { service, spawned } = await spawnRestarting({});
  await rejection(service.exit(7));
  await spawned.exited;
  expect(await lastValueFrom(spawned.state$.pipe(toArray()))).toEqual([
    { status: 'exited', exit: { pid: spawned.pid, code: 7, signal: null }, error: undefined, restarts: 0 },
  ]);
});

test('an attempt that fails counts, and its error is told', async () => {
  const env = { ...process.env, SABOTAGE: join(temporaryFolder(), 'flag') };
  const { service, spawned } = await spawnRestarting({ restart: { delaysMs: [0], max: 2 }, env });
  const states = lastValueFrom(spawned.state$.pipe(toArray()));
  await service.sabotage();
  await rejection(service.exit(1));
  const failed = (await states).filter((state) => state.status !== 'running');
  expect(failed.map((state) => state.status)).toEqual(['restarting', 'restarting', 'exited']);
  expect(failed[1]).toMatchObject({ error: { code: 'ERR_IPC_PEER_GONE', exit: { code: 66 } } });
  expect(failed[2]).toMatchObject({ error: { code: 'ERR_IPC_PEER_GONE', exit: { code: 66 } }, exit: { code: 1 } });
});

test('disposing ends it for good: while it runs, while it waits, and while it starts', async () => {
  for (const when of ['running', 'restarting', 'starting'] as const) {
    const { service, spawned } = await spawnRestarting({
      restart: { delaysMs: [when === 'starting' ? 0 : 1_000_000], max: 5 },
    });
    if (when !== 'running') {
      const restarting = firstValueFrom(spawned.state$.pipe(filter((state) => state.status === 'restarting')));
      spawned.kill('SIGKILL');
      await restarting;
    }
    if (when === 'starting') await new Promise((resolve) => setImmediate(resolve));
    await service[Symbol.asyncDispose]();
    expect(await lastValueFrom(spawned.state$)).toMatchObject({ status: 'exited' });
    expect(() => process.kill(spawned.pid, 0)).toThrow('ESRCH');
  }
});

test('without a policy nothing is started again', async () => {
  const { service, spawned } = await spawnRestarting({});
  const states = lastValueFrom(spawned.state$.pipe(toArray()));
  await rejection(service.exit(0));
  expect((await states).map((state) => state.status)).toEqual(['running', 'exited']);
});
