/** What a server does with commands. */
import type { Observable } from 'rxjs';
import type { Command, CommandMap, RequestOutput, ResponseInput } from './command.ts';
import type { MaybePromise } from './schema.ts';

/** Who sent a command, and how long it may take. */
export interface CommandInfo {
  readonly command: string;
  /** Unique in the server's life. */
  readonly clientId: number;
  /** Aborts when the client cancels or leaves, or the deadline passes. Made on first use. */
  readonly signal: AbortSignal;
  readonly metadata: ReadonlyMap<string, string> | undefined;
  /** Remaining when it arrived. */
  readonly deadlineMs: number | undefined;
}

export type Items<T> = Observable<T> | AsyncIterable<T>;

/** What answers a command: a value for a call, items for a stream. */
export type CommandAnswer<C extends Command> = C['kind'] extends 'stream' ? Items<ResponseInput<C>> : ResponseInput<C>;

/**
 * Runs one command. The payload is valid and owned. A throw or a rejection answers the client with an error and disturbs nothing else.
 */
export type CommandHandler<C extends Command, Context> = (
  payload: RequestOutput<C>,
  context: Context,
  info: CommandInfo,
) => MaybePromise<CommandAnswer<C>>;

/** One handler for each command. */
export type CommandHandlers<C extends CommandMap, Context> = {
  readonly [K in keyof C]: CommandHandler<C[K], Context>;
};

/** A failure that is the server's own: a handler or a validator threw, or a handler gave an answer that its command does not allow. */
export interface CommandFailure {
  readonly command: string;
  readonly clientId: number;
  readonly error: unknown;
}

export interface FailureOptions {
  /**
   * Told of each failure that is this side's own, before its client is. Without it, answers that a command does not allow become process
   * warnings, since they are mistakes of this program; what handlers and validators throw is told to clients only. What it throws itself
   * becomes a process warning.
   */
  readonly onFailure?: (failure: CommandFailure) => void;
}
