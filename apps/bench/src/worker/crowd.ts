/** `node crowd.js OPTIONS`: see crowd-process.ts. */
import type { IpcClient } from '@spanwire/ipc-core';
import type { ReactiveName } from '../links.ts';
import type { CrowdOptions } from './crowd-process.ts';
import { SLOW } from './request-codes.ts';
import { loadTransport } from './transports.ts';
import { ringBytesOf } from './workload-options.ts';

/** Enough to fill a window of 1 MiB, with requests that the server holds until it answers. */
const SLOW_BYTES = 16_384;
const SLOW_DEPTH = 64;

const { job, address, clients: count } = JSON.parse(process.argv[2] ?? '') as CrowdOptions;
const transport = await loadTransport(job.link as ReactiveName);
const clients: IpcClient[] = [];
for (let i = 0; i < count; i++) {
  const client = transport.createClient(address, ringBytesOf(job.workload), {});
  await client.connect();
  clients.push(client);
}

const message = new Uint8Array(SLOW_BYTES).fill(SLOW);
let over = new AbortController();
let loops: Promise<void>[] = [];
process.on('message', (order) => {
  void (order === 'go' ? go() : rest());
});
process.on('disconnect', () => process.exit());
process.send?.('ready');

async function go(): Promise<void> {
  over = new AbortController();
  // All of them, before anything is measured.
  await Promise.all(clients.map((client) => client.request(message)));
  loops = clients.flatMap((client) => Array.from({ length: SLOW_DEPTH }, () => loop(client, over.signal)));
  process.send?.('ready');
}

async function rest(): Promise<void> {
  over.abort();
  await Promise.all(loops);
  process.send?.('ready');
}

async function loop(client: IpcClient, stop: AbortSignal): Promise<void> {
  while (!stop.aborted) await client.request(message);
}
