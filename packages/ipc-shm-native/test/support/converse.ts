/** A client that goes on as if nothing happened: what the others do must not matter to it. */
import type { IpcClient } from '@spanwire/ipc-core';
import { randomOf } from '../fixtures/random.mjs';

/** Asks without pause, and checks each answer, until it is told to stop, and `least` have come; then says how many did. */
export function converse(client: IpcClient, seed: number): (least: number) => Promise<number> {
  const random = randomOf(seed);
  const asking = { least: Infinity };
  let total = 0;
  const talk = async (): Promise<void> => {
    for (let count = 0; total < asking.least; count++, total++) {
      const message = new Uint8Array(random(3000)).fill(count % 100);
      const answer = await client.request(message);
      if (Buffer.compare(answer, message) !== 0) throw new Error(`Expected answer ${count} to be the request`);
    }
  };
  const talking = Promise.all([talk(), talk(), talk()]);
  talking.catch(() => undefined);
  return async (least) => {
    asking.least = least;
    await talking;
    return total;
  };
}
