import { expect } from 'vitest';

/** Looks again, a millisecond later, until `look` gives what is expected. The watchdog of the test ends it otherwise. */
export async function eventually<T>(look: () => T, expected: T): Promise<void> {
  let seen = look();
  const asText = JSON.stringify(expected);
  // The watchdog says nothing of what was seen: give up before it, with the difference. Counted in turns, since a process
  // that stands still has not looked.
  for (let turns = 0; turns < 30_000 && JSON.stringify(seen) !== asText; turns++) {
    await new Promise((resolve) => setTimeout(resolve, 1));
    seen = look();
  }
  expect(seen).toEqual(expected);
}
