/** What a command server says of itself on request, for people and programs that do not have its definition. */
import type { CommandKind } from './command.ts';
import type { Commands } from './define-commands.ts';
import type { JsonSchema } from './schema.ts';

/** The command that every command server answers itself. Names of others start with a letter. */
export const DESCRIBE = '$describe';

export interface CommandDescription {
  readonly kind: CommandKind;
  readonly description?: string;
  /** Of the payload: false when the command takes none, absent when the server cannot tell. */
  readonly request?: JsonSchema | false;
  /** Of the answer, or of one item. */
  readonly response?: JsonSchema | false;
}

export interface Description {
  readonly hash: string;
  readonly commands: Readonly<Record<string, CommandDescription>>;
}

/** The description of `commands`. */
export function describe(commands: Commands): Description {
  const described = Object.entries(commands.definitions).map(([name, command]): [string, CommandDescription] => {
    const { kind, description, requestJsonSchema, responseJsonSchema } = command;
    return [
      name,
      {
        kind,
        ...(description === undefined ? {} : { description }),
        ...(requestJsonSchema === undefined ? {} : { request: plain(requestJsonSchema) }),
        ...(responseJsonSchema === undefined ? {} : { response: plain(responseJsonSchema) }),
      },
    ];
  });
  return { hash: commands.hash, commands: Object.fromEntries(described) };
}

/** Libraries hang values of their own on the schemas; JSON has none of them. */
function plain(schema: JsonSchema | false): JsonSchema | false {
  return JSON.parse(JSON.stringify(schema)) as JsonSchema | false;
}
