import { setTimeout as sleep } from 'node:timers/promises';
import { nowNs } from './clock.ts';
import type { Measured } from './control.ts';
import type { Samples } from './samples.ts';

/** One round trip after the other. `everyMs`: idle that long before each. */
export async function sequential(
  trip: () => Promise<unknown>,
  ms: number,
  samples: Samples,
  everyMs?: number,
): Promise<Measured> {
  const endNs = nowNs() + ms * 1e6;
  let doneNs: number;
  do {
    if (everyMs !== undefined) await sleep(everyMs);
    const beginNs = nowNs();
    await trip();
    doneNs = nowNs();
    samples.add(doneNs - beginNs);
  } while (doneNs < endNs);
  return { ...samples.take(), bytesPerClient: null };
}
