/** One command: what goes in, what comes out, and whether it comes once or as a stream. */
import type { StandardSchemaV1 } from '@standard-schema/spec';
import { jsonSchemaOf, nothing, type JsonSchema, type Nothing, type Schema } from './schema.ts';

/** A call has one answer; a stream has any number of items. */
export type CommandKind = 'call' | 'stream';

export interface CommandOptions<Request extends Schema = Schema, Response extends Schema = Schema> {
  /** Validates the payload: at the client before it is sent, at the server before the handler runs. Left out: no payload. */
  readonly request?: Request;
  /** Validates the answer (of a stream: each item), on both sides. Left out: an acknowledgement without a value. */
  readonly response?: Response;
  /** One sentence for administrators. */
  readonly description?: string;
  /** For validators that cannot tell their JSON Schema: what administrators are shown of the payload. */
  readonly requestJsonSchema?: JsonSchema;
  /** As `requestJsonSchema`, of the answer. */
  readonly responseJsonSchema?: JsonSchema;
}

/** A command, as {@link command} and {@link streamCommand} make it. */
export interface Command<
  Kind extends CommandKind = CommandKind,
  Request extends Schema = Schema,
  Response extends Schema = Schema,
> {
  readonly kind: Kind;
  readonly request: Request;
  readonly response: Response;
  readonly description: string | undefined;
  /** Of the payload as it is sent; undefined when the validator cannot tell, false when there is none. */
  readonly requestJsonSchema: JsonSchema | false | undefined;
  readonly responseJsonSchema: JsonSchema | false | undefined;
}

export type CommandMap = Readonly<Record<string, Command>>;

/** What a client passes. */
export type RequestInput<C extends Command> = StandardSchemaV1.InferInput<C['request']>;
/** What a handler gets. */
export type RequestOutput<C extends Command> = StandardSchemaV1.InferOutput<C['request']>;
/** What a handler returns (of a stream: emits). */
export type ResponseInput<C extends Command> = StandardSchemaV1.InferInput<C['response']>;
/** What a client gets. */
export type ResponseOutput<C extends Command> = StandardSchemaV1.InferOutput<C['response']>;

/**
 * A command with one answer.
 *
 * Each side checks what it hands over and what it gets. Transformations run once, at the side that receives: a value travels as it was
 * given. Throws TypeError when an option is not what it should be.
 *
 * @example
 * command({ request: z.object({ a: z.number(), b: z.number() }), response: z.object({ sum: z.number() }) })
 */
export function command<Request extends Schema = Nothing, Response extends Schema = Nothing>(
  options: CommandOptions<Request, Response> = {},
): Command<'call', NoInfer<Request>, NoInfer<Response>> {
  return make('call', options);
}

/**
 * A command that is answered with any number of items; `response` is the schema of one item. Otherwise as {@link command}.
 *
 * @example
 * streamCommand({ request: z.object({ everyMs: z.number() }), response: z.object({ heapBytes: z.number() }) })
 */
export function streamCommand<Request extends Schema = Nothing, Response extends Schema = Nothing>(
  options: CommandOptions<Request, Response> = {},
): Command<'stream', NoInfer<Request>, NoInfer<Response>> {
  return make('stream', options);
}

// The results are NoInfer: inside of defineCommands(), what is left out must be Nothing, and not the Schema that is expected there.
function make<Kind extends CommandKind, Request extends Schema, Response extends Schema>(
  kind: Kind,
  options: CommandOptions<Request, Response>,
): Command<Kind, Request, Response> {
  const { request, response, description } = options;
  expectSchema('request', request);
  expectSchema('response', response);
  if (description !== undefined && typeof description !== 'string') {
    throw new TypeError(`Expected \`description\` to be a string, got ${typeof description}`);
  }
  return Object.freeze({
    kind,
    // The type parameters are `Nothing` exactly where nothing was given.
    request: request ?? (nothing as unknown as Request),
    response: response ?? (nothing as unknown as Response),
    description,
    requestJsonSchema: options.requestJsonSchema ?? (request === undefined ? false : jsonSchemaOf(request)),
    responseJsonSchema: options.responseJsonSchema ?? (response === undefined ? false : jsonSchemaOf(response)),
  });
}

function expectSchema(name: string, schema: unknown): void {
  if (schema === undefined) return;
  // arktype's schemas are functions.
  const standard =
    (typeof schema === 'object' || typeof schema === 'function') && schema !== null && '~standard' in schema
      ? schema['~standard']
      : undefined;
  if (typeof standard !== 'object' || standard === null || !('validate' in standard)) {
    throw new TypeError(
      `Expected \`${name}\` to be a Standard Schema, got ${schema === null ? 'null' : typeof schema}`,
    );
  }
}
