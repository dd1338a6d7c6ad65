/** JSON Schemas in one form, so that equal ones have equal text. */

/** Says nothing about which values are accepted. */
const ANNOTATIONS: ReadonlySet<string> = new Set([
  '$comment',
  '$schema',
  '~standard',
  'deprecated',
  'description',
  'examples',
  'title',
]);
/** Below these, keys are names that somebody chose, not keywords. */
const NAMED: ReadonlySet<string> = new Set([
  '$defs',
  'definitions',
  'dependentRequired',
  'dependentSchemas',
  'patternProperties',
  'properties',
]);
/** Below these are values, not schemas. */
const VALUES: ReadonlySet<string> = new Set(['const', 'default', 'enum']);

/** `schema` as text: keys sorted, annotations left out. */
export function canonicalSchema(schema: unknown): string {
  return JSON.stringify(canonical(schema, true));
}

function canonical(value: unknown, keywords: boolean): unknown {
  if (Array.isArray(value)) return value.map((each) => canonical(each, keywords));
  if (typeof value !== 'object' || value === null) return value;
  const entries = Object.entries(value)
    .filter(([key]) => !(keywords && ANNOTATIONS.has(key)))
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, each]): [string, unknown] => {
      if (!keywords) return [key, canonical(each, true)];
      if (VALUES.has(key)) return [key, sorted(each)];
      return [key, canonical(each, !NAMED.has(key))];
    });
  return Object.fromEntries(entries);
}

function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, each]) => [key, sorted(each)]),
  );
}
