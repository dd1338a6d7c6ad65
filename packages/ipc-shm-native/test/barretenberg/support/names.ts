/** Names of shared memory: what this layout must not leave behind. */
import { readdirSync } from 'node:fs';
import { afterAll, expect } from 'vitest';

const prefix = `spanwire-test-${process.pid}-`;
let next = 0;

/** A name that nobody uses. */
export function freeName(): string {
  return `${prefix}${next++}`;
}

/** The tests of this file leave no name, whoever was killed in them. */
export function expectNoNamesInTheEnd(): void {
  afterAll(() => {
    expect(readdirSync('/dev/shm').filter((name) => name.startsWith(prefix))).toEqual([]);
  });
}
