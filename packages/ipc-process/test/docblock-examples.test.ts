/** The examples in the docblocks, as a compiler and a process see them. */
/* oxlint-disable no-console -- examples print */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { interval, take, type Observable } from 'rxjs';
import { expect, onTestFinished, test, vi } from 'vitest';
import { createIpc, expose, RpcTarget, type RemoteObservable } from '@spanwire/ipc-process';
import type { Service } from './fixtures/service.mjs';
import { deferred, fixture, temporaryFolder, testIpc } from './support.ts';

type WorkerInit = Service;

/** `worker.mjs` of the examples, which is next to the running program there. */
const worker_mjs = fixture('worker.mjs');

class NodeInit extends RpcTarget {
  height(): number {
    return 7;
  }
}

function printed(): () => unknown[] {
  const log = vi.spyOn(console, 'log').mockImplementation(() => undefined);
  onTestFinished(() => log.mockRestore());
  return () => log.mock.calls.flat() as unknown[];
}

test('every example is in this file, word by word', () => {
  const sources = fileURLToPath(new URL('../src/', import.meta.url));
  const own = compact(readFileSync(fileURLToPath(import.meta.url), 'utf8'));
  const examples = readdirSync(sources).flatMap((file) =>
    [...readFileSync(sources + file, 'utf8').matchAll(/@example\n((?: *\*(?!\/).*\n)+)/g)].map(([, example = '']) => ({
      file,
      example: compact(example.replaceAll(/^ *\* ?/gm, '').replaceAll("'worker.mjs'", 'worker_mjs')),
    })),
  );
  expect(examples.length).toBeGreaterThanOrEqual(11);
  expect(examples.filter(({ example }) => !own.includes(example))).toEqual([]);
});

test('createIpc and spawnProcess', async () => {
  const output = printed();
  {
    await using ipc = createIpc();
    await using worker = await ipc.spawnProcess<WorkerInit>(worker_mjs);
    expect(await worker.add(2, 2)).toBe(4);
  }
  const ipc = testIpc();
  await using worker = await ipc.spawnProcess<WorkerInit>(worker_mjs);
  console.log(await worker.add(1, 2));
  expect(output()).toEqual([3]);
});

test('startSpawnedProcess', async () => {
  const ipc = testIpc({ init: new NodeInit() });
  const { served, exitStatus } = await ipc.startSpawnedProcess(process.argv);
  if (served) process.exit(exitStatus);
  expect(served).toBe(false);
});

test('addCleanup and processOf', async () => {
  const output = printed();
  const folder = mkdtempSync(join(tmpdir(), 'spwp-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  const ipc = testIpc();
  const worker = await ipc.spawnProcess<WorkerInit>(worker_mjs);
  ipc.addCleanup(worker, () => rm(folder, { recursive: true }));
  ipc.processOf(worker).state$.subscribe(({ status }) => console.log(status));
  await worker[Symbol.asyncDispose]();
  expect(() => readdirSync(folder)).toThrow('ENOENT');
  expect(output()).toEqual(['running', 'exited']);
});

test('listenAddress, connectAddress, addressOf and disconnectIncoming', async () => {
  const output = printed();
  const dataDir = temporaryFolder();
  const ipc = testIpc({ dataDir, init: new NodeInit() });
  await using listening = await ipc.listenAddress('unix', { maxConnections: 8 });
  console.log(listening.address);
  const node = await ipc.connectAddress<NodeInit>('auto');
  if (node !== null) console.log(await node.height());
  if (node === null) throw new Error('Expected a node, got none');
  console.log(ipc.addressOf(node));
  await ipc.disconnectIncoming();
  expect(output()).toEqual([`unix:${dataDir}/spanwire.sock`, 7, `unix:${dataDir}/spanwire.sock`]);
  await expect(node.height()).rejects.toMatchObject({ code: 'ERR_IPC_PEER_GONE' });
});

test('expose and RemoteObservable', async () => {
  class Clock extends RpcTarget {
    ticks(milliseconds: number): Observable<number> {
      return interval(milliseconds / 1000);
    }

    consume(numbers$: Observable<number>): Promise<number> {
      return new Promise((resolve, reject) => {
        (numbers$ as RemoteObservable<number>).pipe(take(3)).subscribe({ next: resolve, error: reject });
      });
    }
  }
  const dataDir = temporaryFolder();
  await using listening = await testIpc({ dataDir, init: new Clock() }).listenAddress('unix');
  const clock = (await testIpc().connectAddress<Clock>(listening.address))!;
  const worker = clock;
  await worker.consume(expose(interval(100)));
  const shown = deferred<number>();
  const show = (tick: number): void => shown.resolve(tick);
  const ticks$ = await clock.ticks(1000);
  const subscription = ticks$.subscribe((tick) => show(tick));
  expect(await shown.promise).toBe(0);
  subscription.unsubscribe();
});

/** Code without what a formatter may change. */
function compact(code: string): string {
  return code.replaceAll(/\s+/g, '').replaceAll(/,([)\]}])/g, '$1');
}
