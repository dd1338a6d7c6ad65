/** Small answers are copied out of the ring by the hub that finds them, where it has a place for them; others by whoever takes them. */
import { expect, onTestFinished, test } from 'vitest';
import { createShmClient, createShmServer } from '../src/index.ts';
import { COPY_PLACE_BYTES, COPY_PLACES } from '../src/layout.ts';
import { makeDirectory } from './support/place.ts';

const payload = (size: number, seed: number): Uint8Array => Uint8Array.from({ length: size }, (_, i) => seed * 31 + i);

test('answers of every size around the places arrive whole, alone and in batches larger than there are places', async () => {
  const directory = makeDirectory();
  const server = createShmServer('sizes', { directory });
  onTestFinished(() => server.close());
  await server.listen();
  server.respond((_clientId, request) => request);
  const client = createShmClient('sizes', { directory });
  onTestFinished(() => client.close());
  await client.connect();

  const around = [0, 1, 7, 8, COPY_PLACE_BYTES - 1, COPY_PLACE_BYTES, COPY_PLACE_BYTES + 1, 2 * COPY_PLACE_BYTES];
  for (const [seed, size] of [...around, ...around.toReversed()].entries()) {
    expect(await client.request(payload(size, seed))).toEqual(payload(size, seed));
  }

  // Sizes change from place to place and from batch to batch.
  for (let turn = 0; turn < 8; turn++) {
    const wanted = Array.from({ length: 3 * COPY_PLACES }, (_, i) => payload(around[(i + turn) % around.length]!, i));
    const answers = await Promise.all(wanted.map((bytes) => client.request(bytes)));
    expect(answers).toEqual(wanted);
    // None of them lies where the next batch will.
    expect(new Set(answers.map(({ buffer }) => buffer)).size).toBe(wanted.length);
    for (const [i, { buffer }] of answers.entries()) expect(buffer.byteLength).toBe(wanted[i]!.length);
  }
});
