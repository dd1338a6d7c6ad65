/** Checks of what callers pass: a mistake throws at once and says what was expected. */

/** setTimeout takes no more than this. */
const MAX_TIMER_MS: number = 2 ** 31 - 1;

/** `value` as milliseconds for a timer, or undefined when it is undefined. */
export function milliseconds(name: string, value: unknown): number | undefined {
  if (value === undefined) return undefined;
  return numberIn(name, value, 0, MAX_TIMER_MS, 'a number of milliseconds');
}

/** `value` when it is an integer from `min` to `max`. */
export function integerIn(name: string, value: unknown, min: number, max: number): number {
  if (typeof value === 'number' && !Number.isInteger(value) && value >= min && value <= max) {
    throw new RangeError(`Expected \`${name}\` to be an integer from ${min} to ${max}, got ${value}`);
  }
  return numberIn(name, value, min, max, 'an integer');
}

/** `value` when it is one of `choices`, `fallback` when it is undefined. */
export function oneOf<T extends string>(name: string, value: unknown, choices: readonly T[], fallback: T): T {
  if (value === undefined) return fallback;
  const found = choices.find((choice) => choice === value);
  if (found !== undefined) return found;
  throw new TypeError(
    `Expected \`${name}\` to be ${choices.map((each) => `"${each}"`).join(' or ')}, got ${show(value)}`,
  );
}

/** Throws unless `value` is a function. */
export function expectFunction(name: string, value: unknown): void {
  if (typeof value !== 'function') throw new TypeError(`Expected \`${name}\` to be a function, got ${show(value)}`);
}

/** A short description of any value, for messages. */
export function show(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value.length > 60 ? `${value.slice(0, 60)}...` : value);
  if (typeof value === 'function') return 'a function';
  if (typeof value !== 'object' || value === null) return String(value);
  const { constructor } = value;
  return typeof constructor === 'function' && constructor.name !== ''
    ? `an object of class ${constructor.name}`
    : 'an object';
}

function numberIn(name: string, value: unknown, min: number, max: number, what: string): number {
  if (typeof value !== 'number') {
    throw new TypeError(`Expected \`${name}\` to be ${what} from ${min} to ${max}, got ${show(value)}`);
  }
  if (!(value >= min && value <= max)) {
    throw new RangeError(`Expected \`${name}\` to be ${what} from ${min} to ${max}, got ${value}`);
  }
  return value;
}
