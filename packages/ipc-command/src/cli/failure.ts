/** What goes wrong, as an exit code and as lines for people. */
import { IpcError, type IpcErrorCode } from '@spanwire/ipc-core';
import { InvalidPayloadError, InvalidResponseError, UnknownCommandError } from '../errors.ts';
import { formatIssue } from '../schema.ts';
import { oneLine } from './json-text.ts';

export const EXIT_OK = 0;
/** The command ran and failed, or anything that is not below. */
const EXIT_FAILED = 1;
/** The arguments of this program are wrong. Nothing was sent. */
export const EXIT_USAGE = 2;
/** No connection, or it broke. */
const EXIT_CONNECTION = 3;
const EXIT_TIMEOUT = 4;
/** The server has no such command, or does not take this payload. Nothing ran. */
const EXIT_REFUSED = 5;

export const EXIT_CODES_HELP = `
Exit codes:
  0  done
  1  the command ran and failed
  2  wrong arguments of this program
  3  no connection to the server, or it broke
  4  no answer in time
  5  the server has no such command, or does not take this payload`;

const CONNECTION_CODES: ReadonlySet<IpcErrorCode> = new Set<IpcErrorCode>([
  'ERR_IPC_CLOSED',
  'ERR_IPC_NATIVE_UNAVAILABLE',
  'ERR_IPC_OVERLOADED',
  'ERR_IPC_PEER_GONE',
  'ERR_IPC_REFUSED',
  'ERR_IPC_SYSTEM',
  'ERR_IPC_UNAUTHORIZED',
]);

/** The arguments make no sense. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}

export function exitCodeOf(error: unknown): number {
  if (error instanceof UsageError) return EXIT_USAGE;
  if (error instanceof UnknownCommandError || error instanceof InvalidPayloadError) return EXIT_REFUSED;
  if (!(error instanceof IpcError)) {
    // Addresses and limits that the transport does not take.
    return error instanceof TypeError || error instanceof RangeError ? EXIT_USAGE : EXIT_FAILED;
  }
  if (error.code === 'ERR_IPC_TIMEOUT') return EXIT_TIMEOUT;
  return CONNECTION_CODES.has(error.code) ? EXIT_CONNECTION : EXIT_FAILED;
}

/** One line, and one more per issue where there are several. */
export function explain(error: unknown): string {
  if (!(error instanceof Error)) return oneLine(String(error));
  const code = error instanceof IpcError ? `${error.code}: ` : '';
  const lines = [`${code}${oneLine(error.message)}`];
  if ((error instanceof InvalidPayloadError || error instanceof InvalidResponseError) && error.issues.length > 1) {
    for (const issue of error.issues) lines.push(`  ${oneLine(formatIssue(issue))}`);
  }
  return lines.join('\n');
}
