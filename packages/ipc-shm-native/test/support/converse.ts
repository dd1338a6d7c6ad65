/** A client that goes on as if nothing happened: what the others do must not matter to it. */
import type { IpcClient } from '@spanwire/ipc-core';
import { randomOf } from '../fixtures/random.mjs';

/** Asks without pause, and checks each answer, until it is told to stop; then says how many came. */
export function converse(client: IpcClient, seed: number): () => Promise<number> {
  const random = randomOf(seed);
  const asking = { going: true };
  const talk = async (): Promise<number> => {
    let count = 0;
    for (; asking.going; count++) {
      const message = new Uint8Array(random(3000)).fill(count % 100);
      const answer = await client.request(message);
      if (Buffer.compare(answer, message) !== 0) throw new Error(`Expected answer ${count} to be the request`);
    }
    return count;
  };
  const talking = Promise.all([talk(), talk(), talk()]);
  talking.catch(() => undefined);
  return async () => {
    asking.going = false;
    return (await talking).reduce((sum, count) => sum + count);
  };
}
