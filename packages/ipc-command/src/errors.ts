/** What can be wrong with a command. What can be wrong with the connection is ipc-core's. */
import { IpcError, type IpcErrorCode } from '@spanwire/ipc-core';
import { formatIssue, type CommandIssue } from './schema.ts';

/** Issues in a message; all of them are in `issues`. */
const ISSUES_IN_MESSAGE = 3;

/** A failure of one command. `command` is undefined where the bytes did not even name one. */
export class CommandError extends IpcError {
  override readonly name: string = 'CommandError';
  readonly command: string | undefined;
  constructor(code: IpcErrorCode, message: string, command: string | undefined, options?: ErrorOptions) {
    super(code, message, options);
    this.command = command;
  }
}

/** The server has no such command, or nobody there serves it. Code ERR_IPC_UNSUPPORTED. */
export class UnknownCommandError extends CommandError {
  override readonly name: string = 'UnknownCommandError';
  constructor(command: string) {
    const shown = JSON.stringify(command.slice(0, 128));
    super('ERR_IPC_UNSUPPORTED', `Expected a command that the server has, got ${shown}`, command);
  }
}

/** The payload is not what the command takes; `issues` has the validator's words. The handler did not run. Code ERR_IPC_PROTOCOL. */
export class InvalidPayloadError extends CommandError {
  override readonly name: string = 'InvalidPayloadError';
  readonly issues: readonly CommandIssue[];
  constructor(command: string | undefined, issues: readonly CommandIssue[], options?: ErrorOptions) {
    const what = command === undefined ? 'a command' : `a valid payload of ${JSON.stringify(command)}`;
    super('ERR_IPC_PROTOCOL', `Expected ${what}, got ${summary(issues)}`, command, options);
    this.issues = issues;
  }
}

/** A handler's answer (or item) is not what the command gives; `issues` has the validator's words. The handler did run. Code ERR_IPC_REMOTE. */
export class InvalidResponseError extends CommandError {
  override readonly name: string = 'InvalidResponseError';
  readonly issues: readonly CommandIssue[];
  constructor(command: string, issues: readonly CommandIssue[], options?: ErrorOptions) {
    super(
      'ERR_IPC_REMOTE',
      `Expected a valid response of ${JSON.stringify(command)}, got ${summary(issues)}`,
      command,
      options,
    );
    this.issues = issues;
  }
}

/** Client and server have different definitions. Nothing ran. Code ERR_IPC_VERSION. */
export class VersionMismatchError extends CommandError {
  override readonly name: string = 'VersionMismatchError';
  readonly clientHash: string;
  readonly serverHash: string;
  constructor(command: string, clientHash: string, serverHash: string) {
    super(
      'ERR_IPC_VERSION',
      `Expected client and server to have the same commands, got definition ${clientHash} at the client and ${serverHash} at the server`,
      command,
    );
    this.clientHash = clientHash;
    this.serverHash = serverHash;
  }
}

function summary(issues: readonly CommandIssue[]): string {
  const shown = issues.slice(0, ISSUES_IN_MESSAGE).map(formatIssue).join('; ');
  const more = issues.length - ISSUES_IN_MESSAGE;
  return more > 0 ? `${shown}; and ${more} more` : shown;
}
