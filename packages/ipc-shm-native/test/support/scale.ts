/** How much a test does, and where its randomness starts: both can be set from outside, for longer runs and to repeat one. */

/** The number in the environment variable `name`, or what runs in the continuous integration. */
export function scale(name: string, usual: number): number {
  const given = process.env[name];
  if (given === undefined) return usual;
  const value = Number(given);
  if (!Number.isSafeInteger(value) || value < 1) {
    throw new RangeError(`Expected ${name} to be a whole number, got ${given}`);
  }
  return value;
}

/** A seed: printed, so that a failure can be repeated with SPANWIRE_SEED. */
export function seedOf(test: string): number {
  const seed = scale('SPANWIRE_SEED', 1 + Math.floor(Math.random() * 0x7fff_ffff));
  process.stderr.write(`${test}: SPANWIRE_SEED=${seed}\n`);
  return seed;
}
