import { expect, test } from 'vitest';
import { start } from './support/children.ts';
import { makeDirectory } from './support/place.ts';

test('callbacks of a channel that throw are uncaught exceptions, and cost no other channel anything', async () => {
  const child = start('throwing.mjs', { directory: makeDirectory() });
  expect(await child.next()).toEqual({ kinds: ['frames', 'closed'], echoes: 100, others: true });
});
