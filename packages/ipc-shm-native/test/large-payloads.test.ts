/** Large payloads are copied into the ring in pieces, and lie in it whole. */
import { expect, onTestFinished, test } from 'vitest';
import { createShmClient, createShmServer } from '../src/index.ts';
import { makeDirectory } from './support/place.ts';

const KiB = 1024;
const MiB = 1024 * KiB;
const RING_BYTES = 8 * MiB;
const QUARTER = RING_BYTES / 4;
/** As the two in `mapped-channel.ts` and `native/ring/copy.hpp`. */
const PIECE = 256 * KiB;

/** No two pieces of it are alike. */
const payload = (size: number): Uint8Array => Uint8Array.from({ length: size }, (_, i) => i + (i >> 8) * 7 + (i >> 16));

test.each([true, false])(
  'payloads of every size around the pieces arrive whole, and those up to a quarter of the ring lie in it (externalBuffers: %s)',
  async (externalBuffers) => {
    const directory = makeDirectory();
    const server = createShmServer('large', {
      directory,
      externalBuffers,
      requestRingBytes: RING_BYTES,
      responseRingBytes: RING_BYTES,
    });
    onTestFinished(() => server.close());
    await server.listen();
    const inRing: boolean[] = [];
    server.respond((_clientId, request) => {
      inRing.push(request.buffer.byteLength > 2 * RING_BYTES);
      return request;
    });
    const client = createShmClient('large', { directory, externalBuffers });
    onTestFinished(() => client.close());
    await client.connect();

    const around = [PIECE - 1, PIECE, PIECE + 1, 2 * PIECE, MiB - 8, MiB, MiB + 3, QUARTER - 1, QUARTER];
    // Often enough for the rings to wrap, which lets a record reach into the mirror.
    for (const size of [...around, ...around, ...around]) {
      expect(Buffer.compare(await client.request(payload(size)), payload(size))).toBe(0);
    }
    expect(inRing.splice(0)).toEqual(Array.from({ length: 3 * around.length }, () => externalBuffers));

    expect(Buffer.compare(await client.request(payload(QUARTER + 1)), payload(QUARTER + 1))).toBe(0);
    expect(inRing).toEqual([false]);
  },
);
