/** Many requests at once, each answer checked. */
import type { IpcClient } from '@spanwire/ipc-core';
import { blake2s, hashOf, hashRequest } from './barretenberg.ts';

/** Hashes `count` pieces of data, `depth` at a time; throws at the first wrong answer. Resolves with how many were right. */
export async function hashMany(
  client: IpcClient,
  count: number,
  depth: number,
  nextData: () => Uint8Array,
): Promise<number> {
  let left = count;
  let right = 0;
  const worker = async (): Promise<void> => {
    while (left > 0) {
      left--;
      const data = nextData();
      const hash = hashOf(await client.request(hashRequest(data)));
      if (hash !== blake2s(data)) throw new Error(`Expected the hash of ${data.length} bytes, got ${hash}`);
      right++;
    }
  };
  await Promise.all(Array.from({ length: depth }, worker));
  return right;
}
