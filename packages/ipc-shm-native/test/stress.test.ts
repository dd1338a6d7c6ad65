import { describe, expect, test } from 'vitest';
import { start } from './support/children.ts';
import { makeDirectory } from './support/place.ts';
import { scale, seedOf } from './support/scale.ts';

interface Sum {
  readonly seed: number;
  readonly count: number;
  readonly bytes: number;
  readonly reason?: string;
  readonly error?: string;
  readonly wrong?: string;
}

const bySeed = (left: Sum, right: Sum): number => left.seed - right.seed;
const messages = scale('SPANWIRE_MESSAGES', 300_000);

/** One sender per entry of `copying`, all at once, with `count` messages each. */
async function stress(name: string, count: number, copying: readonly boolean[]): Promise<void> {
  const seed = seedOf(name);
  const options = { directory: makeDirectory(), ringBytes: 8192 };
  const receiver = start('stress-receiver.mjs', options);
  expect(await receiver.next()).toBe('listening');
  const senders = copying.map((each, i) =>
    start('stress-sender.mjs', { ...options, count, seed: seed + i, copying: each }),
  );
  const sent = await Promise.all(senders.map((sender) => sender.next<Sum>()));
  expect(sent.map((sum) => sum.count)).toEqual(copying.map(() => count));
  const received: Sum[] = [];
  while (received.length < copying.length) received.push(await receiver.next<Sum>());
  // Closing in order, after the last byte.
  expect(received.sort(bySeed)).toEqual(sent.sort(bySeed).map((sum) => ({ ...sum, reason: 'closed' })));
}

const timeout = 300_000 + messages / 2;

describe('random sizes up to the whole ring, through rings of 8 KiB, every byte checked', () => {
  test('one sender', { timeout }, () => stress('one sender', messages, [false]));

  test('three senders at once, one of them without external buffers', { timeout }, () =>
    stress('three senders', Math.ceil(messages / 3), [false, false, true]),
  );
});
