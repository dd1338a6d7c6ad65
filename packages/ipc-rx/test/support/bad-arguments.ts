import { expect } from 'vitest';

/** Expects `call` to throw at once what callers' mistakes throw, saying what was expected and what it got. */
export function refuses(call: () => unknown, errorClass: typeof TypeError | typeof RangeError = TypeError): void {
  let thrown: unknown;
  try {
    call();
  } catch (error) {
    thrown = error;
  }
  expect(thrown).toBeInstanceOf(errorClass);
  expect((thrown as Error).message).toMatch(/^Expected .*, got /s);
}
