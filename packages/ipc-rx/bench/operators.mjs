// @ts-check
/**
 * What each operator costs: the throughput of a pipeline with it as a ratio to that of the bare `map` pipeline, 256 requests of 64 bytes in flight,
 * measured alternately in one run; the median of the rounds counts. `node bench/operators.mjs [--rounds N] [--write]`; `--write` puts the table
 * into the README.
 */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { writeTable } from './figures.mjs';
import { bare, pipelines } from './pipelines.mjs';
import { connectToProcess } from './server-process.mjs';
import { median } from './statistics.mjs';

const { values: options } = parseArgs({
  options: { rounds: { type: 'string', default: '100' }, write: { type: 'boolean' } },
});
const rounds = Number(options.rounds);
const DEPTH = 256;
const REQUESTS = 4_096;
const message = new Uint8Array(64).fill(1);
const folder = mkdtempSync(join(tmpdir(), 'spanwire-bench-'));

/** Nanoseconds per request. @param {import('@spanwire/ipc-core').IpcClient} client @returns {Promise<number>} */
function pipelined(client) {
  const startMs = performance.now();
  return new Promise((resolve, reject) => {
    let sent = 0;
    let answered = 0;
    const send = () => {
      sent++;
      client.request(message).then(() => {
        if (++answered === REQUESTS) resolve(((performance.now() - startMs) * 1e6) / REQUESTS);
        else if (sent < REQUESTS) send();
      }, reject);
    };
    for (let i = 0; i < DEPTH; i++) send();
  });
}

/** @param {'unix' | 'shm'} kind @param {string} name */
async function between(kind, name) {
  const reference = await connectToProcess(`${kind}:${folder}/bare`, bare);
  const candidate = await connectToProcess(`${kind}:${folder}/candidate`, name);
  const ratios = [];
  for (let i = -5; i < rounds; i++) {
    // Each goes first in every other round.
    const first = i % 2 === 0 ? await pipelined(reference.client) : undefined;
    const ns = await pipelined(candidate.client);
    const bareNs = first ?? (await pipelined(reference.client));
    if (i >= 0) ratios.push(bareNs / ns);
  }
  await Promise.all([reference.close(), candidate.close()]);
  return median(ratios);
}

/** @param {string} name @returns {Promise<{ ratio: number, extraNs: number }>} */
async function alone(name) {
  const child = fork(fileURLToPath(new URL('measure-loopback.mjs', import.meta.url)), [name, String(rounds)]);
  const [result] = await once(child, 'message');
  await once(child, 'exit');
  return result;
}

const rows = [['pipeline', 'Unix sockets', 'shared memory', 'the server alone', 'costs']];
for (const name of Object.keys(pipelines)) {
  const [sockets, memory] = [await between('unix', name), await between('shm', name)];
  const { ratio, extraNs } = await alone(name);
  const cost = name === bare ? '' : `${Math.max(0, Math.round(extraNs))} ns`;
  rows.push([`\`${name}\``, sockets.toFixed(2), memory.toFixed(2), ratio.toFixed(2), cost]);
  console.log(rows.at(-1)?.join('  '));
}
rmSync(folder, { recursive: true });
if (options.write === true) writeTable('operators', rows);
