/** Who lives is told by the socket alone: not by a pid, not by a parent. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import type { ClientEvent } from '@spanwire/ipc-core';
import { filter, firstValueFrom } from 'rxjs';
import { expect, onTestFinished, test } from 'vitest';
import { createShmServer, type ShmServer } from '../src/index.ts';
import { start } from './support/children.ts';
import { eventually } from './support/eventually.ts';
import { builtPeer, clientHello } from './support/peers.ts';
import { makeDirectory } from './support/place.ts';

const successor = await builtPeer('successor');

interface Serving {
  readonly server: ShmServer;
  readonly path: string;
  /** The pid of the next client. */
  readonly came: Promise<number | undefined>;
  /** How the next one left. */
  readonly left: Promise<ClientEvent | undefined>;
  readonly events: readonly ClientEvent[];
}

async function serving(): Promise<Serving> {
  const path = `${makeDirectory()}/s`;
  const server = createShmServer(`shm:${path}`);
  onTestFinished(() => server.close());
  server.respond((_clientId, request) => request);
  const events: ClientEvent[] = [];
  server.clients$.subscribe((event) => void events.push(event));
  const connected = server.clients$.pipe(filter((event) => event.type === 'connected'));
  const disconnected = server.clients$.pipe(filter((event) => event.type === 'disconnected'));
  const came = firstValueFrom(connected, { defaultValue: undefined }).then((event) => event?.peer?.pid);
  const left = firstValueFrom(disconnected, { defaultValue: undefined });
  await server.listen();
  return { server, path, came, left, events };
}

test('a client whose process becomes another program is missed at once, although that process goes on', async () => {
  const { path, came, left } = await serving();
  const child = spawn(successor, [path, clientHello, 'cat'], {
    stdio: ['pipe', 'ignore', 'inherit'],
  });
  onTestFinished(() => void child.kill('SIGKILL'));
  expect(await came).toBe(child.pid);
  expect(await left).toMatchObject({ reason: 'gone', error: { code: 'ERR_IPC_PEER_GONE' } });
  await eventually(() => readFileSync(`/proc/${child.pid}/comm`, 'utf8'), 'cat\n');
  // It ends when it is told to.
  child.stdin.end();
  expect(await once(child, 'exit')).toEqual([0, null]);
});

test('a client that is killed is missed at once, although a process that it started goes on', async () => {
  const { path, came, left } = await serving();
  const client = start('client.mjs', { address: `shm:${path}`, task: 'parent' });
  expect(await client.next()).toBe('connected');
  const grandchild = await client.next<number>();
  onTestFinished(() => void process.kill(grandchild, 'SIGKILL'));
  expect(await came).toBe(client.pid);
  await client.kill();
  expect(await left).toMatchObject({ reason: 'gone', error: { code: 'ERR_IPC_PEER_GONE' } });
  await eventually(() => readFileSync(`/proc/${grandchild}/comm`, 'utf8'), 'sleep\n');
});

test('a client that a worker thread started goes on when that thread has ended', async () => {
  const { server, path, came, events } = await serving();
  const program = fileURLToPath(new URL('fixtures/client.mjs', import.meta.url));
  const task = JSON.stringify({ address: `shm:${path}`, task: 'flood', depth: 1 });
  const body = `require('node:child_process').spawn(process.execPath, require('node:worker_threads').workerData, { stdio: 'ignore' });`;
  const worker = new Worker(body, { eval: true, workerData: [program, task] });
  const pid = (await came) ?? 0;
  onTestFinished(() => void process.kill(pid, 'SIGKILL'));
  expect(pid).not.toBe(process.pid);
  await worker.terminate();
  const before = server.stats.requests;
  await eventually(() => server.stats.requests > before + 1000, true);
  expect(events.map(({ type }) => type)).toEqual(['connected']);
});
