// @ts-check
/**
 * From `unsubscribe()` in one process to the teardown of the handler's Observable in another, as a ratio to a round trip of 64 bytes.
 * `node bench/cancellation.mjs [--rounds N] [--write]`; `--write` puts the table into the README.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { writeTable } from './figures.mjs';
import { connectToProcess } from './server-process.mjs';
import { median } from './statistics.mjs';

const { values: options } = parseArgs({
  options: { rounds: { type: 'string', default: '2000' }, write: { type: 'boolean' } },
});
const folder = mkdtempSync(join(tmpdir(), 'spanwire-bench-'));
const [ping, open, when] = [new Uint8Array(64), Uint8Array.of(1), Uint8Array.of(2)];

/** @param {string} address */
async function measure(address) {
  const { client, close } = await connectToProcess(address, 'streams');
  /** @type {number[]} */
  const cancels = [];
  /** @type {number[]} */
  const trips = [];
  for (let i = -200; i < Number(options.rounds); i++) {
    const subscription = client.request$(open).subscribe();
    const startMs = performance.now();
    await client.request(ping);
    const trip = (performance.now() - startMs) * 1e6;
    const unsubscribedAt = process.hrtime.bigint();
    subscription.unsubscribe();
    const answer = await client.request(when);
    const tornDownAt = new BigUint64Array(answer.slice().buffer)[0] ?? 0n;
    if (i < 0) continue;
    trips.push(trip);
    cancels.push(Number(tornDownAt - unsubscribedAt));
  }
  await close();
  return {
    tripUs: median(trips) / 1000,
    cancelUs: median(cancels) / 1000,
    ratio: median(cancels.map((ns, i) => ns / (trips[i] ?? 1))),
  };
}

const rows = [['', 'round trip of a request', 'from `unsubscribe()` to the teardown', 'ratio, median of pairs']];
const addresses = { 'Unix sockets': `unix:${folder}/s`, 'shared memory': `shm:${folder}/m` };
for (const [name, address] of Object.entries(addresses)) {
  const { tripUs, cancelUs, ratio } = await measure(address);
  rows.push([name, `${tripUs.toFixed(1)} us`, `${cancelUs.toFixed(1)} us`, ratio.toFixed(2)]);
}
rmSync(folder, { recursive: true });
for (const row of rows) console.log(row.join('  '));
if (options.write === true) writeTable('cancellation', rows);
