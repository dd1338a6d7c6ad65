/** What is said about the rounds of one measurement. */

/** The middle value; the mean of the two middle ones. NaN when there is none. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : (upper + (sorted[middle - 1] ?? Number.NaN)) / 2;
}

/** The median of those values that are there; null when none is. */
export function medianOf(values: readonly (number | null)[]): number | null {
  const known = values.filter((value) => value !== null);
  return known.length === 0 ? null : median(known);
}

/**
 * The standard error of the median, as a share of it: how far the median of another run may be off by chance. From the median absolute
 * deviation, so one round that was disturbed changes little.
 */
export function relativeNoise(values: readonly number[]): number {
  if (values.length < 2) return 0;
  const middle = median(values);
  if (middle === 0) return 0;
  // 1.4826 makes a standard deviation of a normal distribution's MAD; a median scatters 1.2533 times as much as a mean.
  const deviation = 1.4826 * median(values.map((value) => Math.abs(value - middle)));
  return (1.2533 * deviation) / Math.sqrt(values.length) / Math.abs(middle);
}
