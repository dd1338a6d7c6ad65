import { nowNs } from './clock.ts';
import type { Measured } from './control.ts';
import type { Samples } from './samples.ts';

/** Messages of a batch, which ends when the server says that all of them are there. */
export const BATCH = 4096;

/** Batch after batch of one-way messages. The latency is a batch's time for each of its messages. */
export async function batches(send: () => Promise<unknown>, ms: number, samples: Samples): Promise<Measured> {
  const beginNs = nowNs();
  const endNs = beginNs + ms * 1e6;
  let doneNs = beginNs;
  let messages = 0;
  while (doneNs < endNs) {
    const startNs = doneNs;
    await send();
    doneNs = nowNs();
    messages += BATCH;
    samples.add((doneNs - startNs) / BATCH);
  }
  const seconds = (doneNs - beginNs) / 1e9;
  return { latency: samples.take().latency, perSecond: messages / seconds, bytesPerClient: null };
}
