/** Typed commands between processes: polled lazily, or served reactively. */
export {
  command,
  streamCommand,
  type Command,
  type CommandKind,
  type CommandMap,
  type CommandOptions,
  type RequestInput,
  type RequestOutput,
  type ResponseInput,
  type ResponseOutput,
} from './command.ts';
export { defineCommands, type Commands, type DefineOptions, type ReservedName } from './define-commands.ts';
export { unchecked, type CommandIssue, type JsonSchema, type Nothing, type Schema } from './schema.ts';
export {
  createCommandServer,
  type CommandServer,
  type CommandServerAddress,
  type CommandServerOfYours,
  type CommandServerOptions,
  type HandleMessagesArguments,
  type HandleMessagesOptions,
} from './command-server.ts';
export { serveCommands, type ServeCommandsOptions } from './serve-commands.ts';
export { commands$, type CommandCall, type CommandStreams } from './command-streams.ts';
export type {
  CommandAnswer,
  CommandFailure,
  CommandHandler,
  CommandHandlers,
  CommandInfo,
  FailureOptions,
  Items,
} from './handlers.ts';
export {
  commandClient,
  createCommandClient,
  type CommandArguments,
  type CommandClient,
  type CommandClientControl,
  type CommandClientOptions,
  type CommandMethod,
} from './command-client.ts';
export { CommandStream } from './command-stream.ts';
export { clientSend, type CallNames, type ClientSendOptions } from './client-send.ts';
export {
  CommandError,
  InvalidPayloadError,
  InvalidResponseError,
  UnknownCommandError,
  VersionMismatchError,
} from './errors.ts';
export { DESCRIBE, type CommandDescription, type Description } from './description.ts';
