import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { blockingClient, loopClient, pattern, ring, serving } from './support/blocking.ts';
import { expectSanitized } from './support/children.ts';
import { converse } from './support/converse.ts';
import { eventually } from './support/eventually.ts';
import { builtPeer, clientHello } from './support/peers.ts';
import { holdingsOf } from './support/process.ts';
import { scale, seedOf } from './support/scale.ts';

const MUTATIONS = scale('SPANWIRE_MUTATIONS', 60_000) / 4;
const run = promisify(execFile);
const hostile = await builtPeer('hostile');
const deeds = (await run(hostile, ['deeds'])).stdout
  .trim()
  .split('\n')
  .map((line) => line.split('\t')[0] ?? '')
  // They need a handler that takes its time, or a stream.
  .filter((deed) => deed !== 'id-in-use' && deed !== 'control-lane-that-is-never-read');

test.each(deeds)('a server that blocks drops a client for its %s, and serves the others', async (deed) => {
  const { address, path, next } = await serving({ requestRingBytes: ring, responseRingBytes: ring, handler: 'echo' });
  const steady = blockingClient(address);
  steady.call(pattern(9));
  await next('came');
  await run(hostile, [path, clientHello, 'deed', deed]);
  expect(await next('left')).toMatchObject({ reason: 'protocol' });
  expect(steady.call(pattern(100))).toEqual(pattern(100));
});

test(
  'a server that blocks survives clients that scribble, punch holes and shake hands wildly; others notice nothing',
  { timeout: 300_000 + MUTATIONS },
  async () => {
    const seed = seedOf('hostile clients of a blocking server');
    const { server, address, path } = await serving({
      requestRingBytes: ring,
      responseRingBytes: ring,
      handler: 'echo',
    });
    expectSanitized(server);
    const steady = await loopClient(address);
    const blocked = blockingClient(address);
    blocked.call(pattern(9));
    const before = holdingsOf(server.pid);
    const stop = converse(steady, seed);
    const attack = (own: number): Promise<unknown> =>
      run(hostile, [path, clientHello, 'wild', `${own}`, `${Math.ceil(MUTATIONS / 2)}`]);
    await Promise.all([attack(seed), attack(seed + 1)]);
    await stop(100);
    expect(blocked.call(pattern(5000))).toEqual(pattern(5000));
    await eventually(() => holdingsOf(server.pid), before);
    expect(server.errors).toBe('');
  },
);
