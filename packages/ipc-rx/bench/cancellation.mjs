// @ts-check
/**
 * From `unsubscribe()` in one process to the teardown of the handler's Observable in another, as a ratio to a round trip of 64 bytes, over Unix
 * sockets. `node bench/cancellation.mjs [--rounds N] [--write]`.
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
const { client, close } = await connectToProcess(`unix:${folder}/s`, 'streams');
const [ping, open, when] = [new Uint8Array(64), Uint8Array.of(1), Uint8Array.of(2)];

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
  const tornDownAt = new BigUint64Array(answer.buffer, answer.byteOffset, 1)[0] ?? 0n;
  if (i < 0) continue;
  trips.push(trip);
  cancels.push(Number(tornDownAt - unsubscribedAt));
}
await close();
rmSync(folder, { recursive: true });

const ratio = median(cancels.map((ns, i) => ns / (trips[i] ?? 1)));
const rows = [
  ['', 'median'],
  ['round trip of a request', `${(median(trips) / 1000).toFixed(1)} us`],
  ['from `unsubscribe()` to the teardown in the other process', `${(median(cancels) / 1000).toFixed(1)} us`],
  ['ratio, median of each pair', ratio.toFixed(2)],
];
for (const row of rows) console.log(row.join('  '));
if (options.write === true) writeTable('cancellation', rows);
