/**
 * What travels: msgpack, so that programs in other languages can take part.
 *
 * ```text
 *  request   [name] or [name, payload]
 *  answer    [0] or [0, value], also each item of a stream
 *            [1, { kind, command, message, issues, clientHash, serverHash }]: nothing follows
 * ```
 *
 * Errors that a handler throws are not in here: they are the error frames of ipc-core.
 */
import { ProtocolError } from '@spanwire/ipc-core';
import { Packr } from 'msgpackr';
import {
  type CommandError,
  InvalidPayloadError,
  InvalidResponseError,
  UnknownCommandError,
  VersionMismatchError,
} from './errors.ts';
import { msgpackProblem } from './msgpack-scan.ts';
import type { CommandIssue } from './schema.ts';

const OK = 0;
const FAILED = 1;

/** Objects are plain maps, and bytes are copies: a decoded value keeps nothing of the message. */
const packr = new Packr({ useRecords: false, mapsAsObjects: true, copyBuffers: true, useBigIntExtension: true });

export interface DecodedRequest {
  readonly command: string;
  readonly payload: unknown;
}

/** Encodes a request. Throws TypeError when the payload cannot be encoded. */
export function encodeRequest(command: string, payload: unknown): Uint8Array {
  return pack(`the payload of ${JSON.stringify(command)}`, payload === undefined ? [command] : [command, payload]);
}

/** Decodes a request. Throws {@link InvalidPayloadError}. */
export function decodeRequest(bytes: Uint8Array): DecodedRequest {
  const problem = msgpackProblem(bytes);
  if (problem !== undefined) throw malformed(`Expected msgpack, got ${problem}`);
  let value: unknown;
  try {
    value = unpack(bytes);
  } catch (error) {
    throw malformed('Expected readable msgpack', { cause: error });
  }
  if (!Array.isArray(value) || value.length < 1 || value.length > 2 || typeof value[0] !== 'string') {
    throw malformed("Expected a list of a command's name and its payload");
  }
  return { command: value[0], payload: value[1] };
}

/** Encodes an answer or an item. Throws TypeError when it cannot be encoded. */
export function encodeAnswer(command: string, value: unknown): Uint8Array {
  return pack(`the response of ${JSON.stringify(command)}`, value === undefined ? [OK] : [OK, value]);
}

/** Encodes an error of the command protocol. */
export function encodeError(error: CommandError): Uint8Array {
  return packr.pack([FAILED, wireError(error)]);
}

/** The value of an answer or an item. Throws the error that it stands for, or {@link ProtocolError} when it is no answer. */
export function decodeAnswer(command: string, bytes: Uint8Array): unknown {
  const problem = msgpackProblem(bytes);
  if (problem !== undefined) throw new ProtocolError(`Expected the answer of a command server, got ${problem}`);
  let value: unknown;
  try {
    value = unpack(bytes);
  } catch (error) {
    throw new ProtocolError('Expected the answer of a command server, got unreadable msgpack', { cause: error });
  }
  if (Array.isArray(value) && value[0] === OK && value.length <= 2) return value[1];
  if (Array.isArray(value) && value[0] === FAILED && value.length === 2) throw errorOf(command, value[1]);
  throw new ProtocolError('Expected the answer of a command server, got other msgpack');
}

function pack(what: string, value: unknown): Uint8Array {
  try {
    return packr.pack(value);
  } catch (error) {
    // Symbols, and circles that exhaust the stack.
    throw new TypeError(`Expected ${what} to be plain data, got what msgpack cannot say`, { cause: error });
  }
}

/** Through a view of its own: of a Buffer, decoded bytes would be Buffers, and msgpackr hangs a property on what it reads. */
function unpack(bytes: Uint8Array): unknown {
  return packr.unpack(new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength));
}

function malformed(message: string, options?: ErrorOptions): InvalidPayloadError {
  return new InvalidPayloadError(undefined, [{ message, path: [] }], options);
}

type WireError =
  | { readonly kind: 'unknown' }
  | { readonly kind: 'payload'; readonly command: string | null; readonly issues: readonly CommandIssue[] }
  | { readonly kind: 'response'; readonly command: string; readonly issues: readonly CommandIssue[] }
  | { readonly kind: 'version'; readonly command: string; readonly clientHash: string; readonly serverHash: string };

function wireError(error: CommandError): WireError & { readonly message: string } {
  const { message, command = '' } = error;
  if (error instanceof InvalidPayloadError) {
    return { kind: 'payload', command: error.command ?? null, issues: error.issues, message };
  }
  if (error instanceof InvalidResponseError) return { kind: 'response', command, issues: error.issues, message };
  if (error instanceof VersionMismatchError) {
    return { kind: 'version', command, clientHash: error.clientHash, serverHash: error.serverHash, message };
  }
  // Its name comes from the client, which knows it: any length may come, and none goes back.
  return { kind: 'unknown', message };
}

function errorOf(command: string, wire: unknown): CommandError | ProtocolError {
  const fields: { kind?: unknown; command?: unknown; issues?: unknown; clientHash?: unknown; serverHash?: unknown } =
    typeof wire === 'object' && wire !== null ? wire : {};
  switch (fields.kind) {
    case 'unknown':
      return new UnknownCommandError(command);
    case 'payload':
      return new InvalidPayloadError(fields.command === null ? undefined : command, issuesOf(fields.issues));
    case 'response':
      return new InvalidResponseError(command, issuesOf(fields.issues));
    case 'version':
      return new VersionMismatchError(command, textOf(fields.clientHash), textOf(fields.serverHash));
    default:
      return new ProtocolError('Expected the error of a command server, got one of an unknown kind');
  }
}

function issuesOf(value: unknown): CommandIssue[] {
  if (!Array.isArray(value)) return [];
  return value.map((each: unknown) => {
    const { message, path }: { message?: unknown; path?: unknown } =
      typeof each === 'object' && each !== null ? each : {};
    return {
      message: textOf(message),
      path: Array.isArray(path)
        ? path.filter((key: unknown): key is string | number => typeof key === 'string' || typeof key === 'number')
        : [],
    };
  });
}

function textOf(value: unknown): string {
  return typeof value === 'string' ? value : '';
}
