// @ts-check
/** One pipeline against the bare one, on a channel that costs nothing. In a process of its own, so that no other pipeline has shaped its code. */
import { loopback } from './loopback.mjs';
import { bare, pipelines } from './pipelines.mjs';
import { median } from './statistics.mjs';

const [name = '', rounds = '40'] = process.argv.slice(2);
const candidate = pipelines[name];
const reference = pipelines[bare];
if (candidate === undefined || reference === undefined) throw new Error(`no pipeline is called ${name}`);

const [one, other] = [await loopback(reference), await loopback(candidate)];
const batches = 64;
for (let i = 0; i < 10; i++) {
  await one.round(batches);
  await other.round(batches);
}
const ratios = [];
const costs = [];
for (let i = 0; i < Number(rounds); i++) {
  // Each goes first in every other round.
  const first = i % 2 === 0 ? await one.round(batches) : undefined;
  const ns = await other.round(batches);
  const bareNs = first ?? (await one.round(batches));
  ratios.push(bareNs / ns);
  costs.push(ns - bareNs);
}
process.send?.({ ratio: median(ratios), extraNs: median(costs) });
process.disconnect();
await Promise.all([one.close(), other.close()]);
