/**
 * Values as JSON and back, for shells. What JSON lacks is an object with one key: `{"$bytes": "<base64>"}`, `{"$bigint": "<digits>"}`,
 * `{"$date": "<ISO 8601>"}` (null: no valid date), `{"$number": "NaN"}` (or `Infinity`, `-Infinity`).
 */

const NUMBERS: ReadonlyMap<unknown, number> = new Map(
  [NaN, Infinity, -Infinity].map((value) => [String(value), value]),
);

/** The value that `text` says. Throws SyntaxError. */
export function parseValue(text: string): unknown {
  return JSON.parse(text, (_key, value: unknown) => {
    if (typeof value !== 'object' || value === null || Object.keys(value).length !== 1) return value;
    const {
      $bytes,
      $bigint,
      $date,
      $number,
    }: { $bytes?: unknown; $bigint?: unknown; $date?: unknown; $number?: unknown } = value;
    if (typeof $bytes === 'string') return bytesOf($bytes);
    if (typeof $bigint === 'string') return bigintOf($bigint);
    if (typeof $date === 'string') return dateOf($date);
    if ($date === null) return new Date(NaN);
    return NUMBERS.get($number) ?? value;
  }) as unknown;
}

function bytesOf(base64: string): Uint8Array {
  // Node's decoder takes anything, and leaves out what it does not know.
  if (!/^[A-Za-z0-9+/]*={0,2}$/.test(base64)) throw new SyntaxError(`Expected bytes in base64, got ${base64}`);
  return new Uint8Array(Buffer.from(base64, 'base64'));
}

function bigintOf(digits: string): bigint {
  if (!/^-?\d+$/.test(digits)) throw new SyntaxError(`Expected the digits of an integer, got "${digits}"`);
  return BigInt(digits);
}

function dateOf(text: string): Date {
  const date = new Date(text);
  if (Number.isNaN(date.getTime())) throw new SyntaxError(`Expected a date in ISO 8601, got ${text}`);
  return date;
}

/** `value` as JSON; undefined as `null`, since a line must say something. */
export function formatValue(value: unknown, indent: number): string {
  return formatJson(sayable(value), indent);
}

/** What JSON knows, as JSON that a terminal can show: control characters and line separators are escaped, also those that JSON need not escape. */
export function formatJson(value: unknown, indent: number): string {
  const text: string | undefined = JSON.stringify(value, undefined, indent);
  return (text ?? 'null').replace(
    /[\u007f-\u009f\u2028\u2029]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

/** Text of a server on one line: nothing in it may steer a terminal, or pass for another line. */
export function oneLine(text: string): string {
  return text.replace(/[\p{Cc}\p{Zl}\p{Zp}]+/gu, ' ');
}

function sayable(value: unknown): unknown {
  if (typeof value === 'bigint') return { $bigint: value.toString() };
  if (typeof value === 'number' && !Number.isFinite(value)) return { $number: String(value) };
  if (typeof value !== 'object' || value === null) return value;
  if (value instanceof Uint8Array) return { $bytes: Buffer.from(value).toString('base64') };
  if (value instanceof Date) return { $date: Number.isNaN(value.getTime()) ? null : value.toISOString() };
  if (Array.isArray(value)) return value.map(sayable);
  return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, sayable(each)]));
}
