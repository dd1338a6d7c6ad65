/** A set of commands, known to both sides. */
import { createHash } from 'node:crypto';
import type { Bytes } from '@spanwire/ipc-core';
import { canonicalSchema } from './canonical-json.ts';
import type { Command, CommandMap } from './command.ts';

/** Letters first; then what shells, file names and logs take without quotes. */
const NAME = /^[A-Za-z][A-Za-z0-9_.-]{0,127}$/;
/** What a client's own methods are called, and what makes an object look like a promise. */
const RESERVED = ['close', 'connect', 'then'] as const;

export type ReservedName = (typeof RESERVED)[number];

const HELLO_PREFIX = 'spanwire-command:';
const HASH_CHARACTERS = 32;

/** What {@link defineCommands} makes. Immutable. */
export interface Commands<C extends CommandMap = CommandMap> {
  readonly definitions: C;
  /** 32 hexadecimal digits of all names, kinds and JSON Schemas, and of `version`. Descriptions do not count. */
  readonly hash: string;
  /** What a client says of itself in its connection's hello, for clients that are made by hand. */
  readonly hello: Bytes;
}

export interface DefineOptions {
  /**
   * Goes into the hash. Change it when a command changes in a way that JSON Schema does not show: schemas of libraries that cannot tell
   * theirs, `unchecked` types, meanings.
   */
  readonly version?: string;
}

/**
 * Defines a set of commands. Both sides import the same definition; types flow from it, and its hash tells a client from another version
 * apart.
 *
 * Throws TypeError when a name does not start with a letter, has other characters than letters, digits, `_`, `.` and `-`, or is one of
 * `close`, `connect` and `then`.
 *
 * @example
 * export const commands = defineCommands({
 *   add: command({ request: z.object({ a: z.number(), b: z.number() }), response: z.number() }),
 *   ticks: streamCommand({ response: z.number() }),
 * });
 */
export function defineCommands<const C extends CommandMap>(
  definitions: C & { readonly [K in ReservedName]?: never },
  options: DefineOptions = {},
): Commands<C> {
  for (const [name, command] of Object.entries<Command | undefined>(definitions)) {
    if (!NAME.test(name)) {
      throw new TypeError(
        `Expected the name of a command to be a letter and up to 127 letters, digits, "_", "." or "-", got ${JSON.stringify(name)}`,
      );
    }
    if (RESERVED.some((reserved) => reserved === name)) {
      throw new TypeError(`Expected the name of a command to be none of ${RESERVED.join(', ')}, got ${name}`);
    }
    if (command?.kind !== 'call' && command?.kind !== 'stream') {
      throw new TypeError(`Expected \`${name}\` to be made by command() or streamCommand(), got something else`);
    }
  }
  const hash = hashOf(definitions, options.version);
  return Object.freeze({
    definitions: Object.freeze({ ...definitions }),
    hash,
    hello: new TextEncoder().encode(HELLO_PREFIX + hash),
  });
}

/** The hash that a client's hello announces; undefined when it announces none, as tools that take any definition do. */
export function hashInHello(hello: Uint8Array | undefined): string | undefined {
  if (hello === undefined || hello.byteLength !== HELLO_PREFIX.length + HASH_CHARACTERS) return undefined;
  const text = new TextDecoder('latin1').decode(hello);
  return text.startsWith(HELLO_PREFIX) ? text.slice(HELLO_PREFIX.length) : undefined;
}

function hashOf(definitions: CommandMap, version: string | undefined): string {
  const lines = Object.entries(definitions)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, { kind, requestJsonSchema, responseJsonSchema }]) =>
      [name, kind, textOf(requestJsonSchema), textOf(responseJsonSchema)].join('\t'),
    );
  const text = [`version ${JSON.stringify(version ?? null)}`, ...lines].join('\n');
  return createHash('sha256').update(text).digest('hex').slice(0, HASH_CHARACTERS);
}

function textOf(schema: Command['requestJsonSchema']): string {
  return schema === undefined ? 'unknown' : canonicalSchema(schema);
}
