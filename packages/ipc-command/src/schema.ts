/** Validators, as far as commands care: anything that speaks Standard Schema, or nothing. */
import type { StandardJSONSchemaV1, StandardSchemaV1 } from '@standard-schema/spec';

/** A validator of any library that speaks Standard Schema (zod, valibot, arktype, ...). */
export type Schema<Input = unknown, Output = Input> = StandardSchemaV1<Input, Output>;

/** A JSON Schema, draft 2020-12. */
export type JsonSchema = Readonly<Record<string, unknown>>;

/** Where a value is wrong, and why. `path` is empty for the value itself. */
export interface CommandIssue {
  readonly message: string;
  readonly path: readonly (string | number)[];
}

export type MaybePromise<T> = T | Promise<T>;

export type Validation =
  | { readonly value: unknown; readonly issues?: undefined }
  | { readonly issues: readonly CommandIssue[] };

/** A payload can be wrong in a million places; nobody reads more than these. */
const MAX_ISSUES = 100;
const MAX_ISSUE_CHARACTERS = 1_000;
const MAX_PATH = 32;

/**
 * A schema that checks nothing: only the compiler knows `T`, and what arrives is taken for it as it is.
 *
 * @example
 * const commands = defineCommands({ add: command({ request: unchecked<{ a: number; b: number }>() }) });
 */
export function unchecked<T>(): Schema<T, T> {
  return { '~standard': { version: 1, vendor: 'spanwire', validate: (value) => ({ value: value as T }) } };
}

/** What a command without a request, or without a response, carries: nothing. */
export type Nothing = Schema<void, undefined>;

/** Accepts undefined, and null from languages that have no undefined. */
export const nothing: Nothing = {
  '~standard': {
    version: 1,
    vendor: 'spanwire',
    validate: (value) =>
      value === undefined || value === null
        ? { value: undefined }
        : { issues: [{ message: `Expected nothing, got a value of type ${typeof value}` }] },
  },
};

/** Asks the validator. Throws what it throws. */
export function validate(schema: Schema, value: unknown): MaybePromise<Validation> {
  const result = schema['~standard'].validate(value);
  return isPromise(result) ? result.then(normal) : normal(result);
}

/** The JSON Schema of what `schema` accepts, when its library can tell. */
export function jsonSchemaOf(schema: Schema): JsonSchema | undefined {
  const { jsonSchema } = schema['~standard'] as Partial<StandardJSONSchemaV1.Props>;
  if (jsonSchema === undefined) return undefined;
  const target = 'draft-2020-12';
  try {
    // zod's word for "leave out what JSON Schema cannot say"; others ignore it.
    return jsonSchema.input({ target, libraryOptions: { unrepresentable: 'any' } });
  } catch {
    // The specification lets a library throw where it cannot say it: then nobody is told.
    return undefined;
  }
}

/** Whether `value` has to be waited for. */
export function isPromise<T>(value: T | PromiseLike<T>): value is Promise<T> {
  return typeof value === 'object' && value !== null && 'then' in value && typeof value.then === 'function';
}

/** Goes on with `value` at once when it is there, so that what is synchronous stays so. */
export function chain<T, U>(value: MaybePromise<T>, next: (value: T) => MaybePromise<U>): MaybePromise<U> {
  return isPromise(value) ? value.then(next) : next(value);
}

/** One line per issue: `a.b[0]: message`. */
export function formatIssue({ path, message }: CommandIssue): string {
  let place = '';
  for (const key of path) {
    if (typeof key === 'number') place += `[${key}]`;
    else place += place === '' ? key : `.${key}`;
  }
  // Some libraries say the place themselves.
  return place === '' || message.startsWith(place) ? message : `${place}: ${message}`;
}

function normal(result: StandardSchemaV1.Result<unknown>): Validation {
  if (result.issues === undefined) return { value: result.value };
  return { issues: result.issues.slice(0, MAX_ISSUES).map(plainIssue) };
}

function plainIssue({ message, path = [] }: StandardSchemaV1.Issue): CommandIssue {
  return {
    message: message.slice(0, MAX_ISSUE_CHARACTERS),
    // A plain list, whatever the library's list is.
    path: Array.from(path, (segment) => {
      const key = typeof segment === 'object' ? segment.key : segment;
      return typeof key === 'number' ? key : String(key);
    }).slice(0, MAX_PATH),
  };
}
