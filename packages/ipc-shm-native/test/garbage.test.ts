import { describe, expect, test } from 'vitest';
import { start } from './support/children.ts';
import { makeDirectory } from './support/place.ts';
import { seedOf } from './support/scale.ts';

const MiB = 1024 * 1024;
const CONNECTIONS = 20;

interface Memory {
  readonly virtualBytes: number;
  readonly mappings: number;
}

interface Said {
  readonly right: number;
  readonly before: Memory;
  readonly dropped: Memory;
  readonly held: Memory & { readonly lengths: readonly number[]; readonly views: number };
  readonly after: Memory;
}

describe.each([true, false])('with external buffers: %s', (externalBuffers) => {
  test('garbage may be collected at any moment: messages stay right, and closed connections give back their addresses', async () => {
    const ringBytes = 16 * MiB;
    // Both rings, twice each, and that is one of two sides.
    const oneSide = 4 * ringBytes;
    const address = `shm:${makeDirectory()}/s`;
    const child = start(
      'collected.mjs',
      { address, ringBytes, externalBuffers, connections: CONNECTIONS, seed: seedOf('collected garbage') },
      // Or a thread of the runtime that works for the first time reserves 64 MiB for its allocations.
      { env: { MALLOC_ARENA_MAX: '1' } },
    );
    const { right, before, dropped, held, after } = await child.next<Said>();
    expect(right).toBe(800);
    for (const memory of [before, dropped, held, after]) expect(memory.mappings).toBe(0);
    // What was held is the request and the answer of every connection.
    expect(held.views).toBe(2 * CONNECTIONS);
    expect(held.lengths).toEqual(externalBuffers ? [0] : [100]);
    // Nothing of a single side is left, and the heap of the runtime grew by less.
    expect(dropped.virtualBytes - before.virtualBytes).toBeLessThan(oneSide);
    expect(after.virtualBytes - before.virtualBytes).toBeLessThan(oneSide);
    expect(await child.exited).toEqual({ code: 0, signal: null });
    expect(child.errors).toBe('');
  });
});
