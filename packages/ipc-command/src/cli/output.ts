/** Where the words go. Results go to standard output and nothing else does; people get more room than pipes. */
import { once } from 'node:events';
import type { Writable } from 'node:stream';
import type { CommandDescription, Description } from '../description.ts';
import type { JsonSchema } from '../schema.ts';
import { formatJson, formatValue, oneLine } from './json-text.ts';

export interface Streams {
  readonly stdin: NodeJS.ReadableStream;
  readonly stdout: Writable & { readonly isTTY?: boolean };
  readonly stderr: Writable;
}

/** Writes a line, and waits where the reader is slower. */
export async function writeLine(stream: Writable, text: string | Uint8Array): Promise<void> {
  const taken = typeof text === 'string' ? stream.write(`${text}\n`) : stream.write(text);
  if (!taken) await once(stream, 'drain');
}

/** Text and bytes as they are when they are asked for raw; else JSON: one line in pipes, several for people. */
export function formatResult(value: unknown, options: { raw: boolean; people: boolean }): string | Uint8Array {
  if (options.raw && (typeof value === 'string' || value instanceof Uint8Array)) return value;
  return formatValue(value, options.people ? 2 : 0);
}

/** Name, kind and description: in columns for people, with tabs between for programs. */
export function formatList({ commands }: Description, people: boolean): string[] {
  const rows = Object.entries(commands)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, { kind, description = '' }]) => [oneLine(name), kind, oneLine(description)]);
  if (!people) return rows.map((row) => row.join('\t'));
  const widths = [0, 1].map((column) => Math.max(0, ...rows.map((row) => row[column]?.length ?? 0)));
  return rows.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd(),
  );
}

/** What one command takes and gives, for people. */
export function formatDescription(name: string, command: CommandDescription): string[] {
  const { kind, description, request, response } = command;
  return [
    `${name} (${kind})`,
    ...(description === undefined ? [] : [oneLine(description)]),
    '',
    ...schemaLines('payload', request),
    ...schemaLines(kind === 'stream' ? 'each item' : 'answer', response),
  ];
}

function schemaLines(what: string, schema: JsonSchema | false | undefined): string[] {
  if (schema === false) return [`${what}: none`];
  if (schema === undefined) return [`${what}: the server has no JSON Schema of it`];
  return [
    `${what}:`,
    ...formatJson(schema, 2)
      .split('\n')
      .map((line) => `  ${line}`),
  ];
}
