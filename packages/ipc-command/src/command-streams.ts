/** The reactive server, as one Observable per command. */
import type { IpcServer } from '@spanwire/ipc-core';
import { Observable, Subject, type Subscription } from 'rxjs';
import { answerAll } from './answer-all.ts';
import type { Command, CommandMap, RequestOutput } from './command.ts';
import type { Commands } from './define-commands.ts';
import { Dispatcher, type Opened } from './dispatcher.ts';
import type { CommandAnswer, CommandInfo, FailureOptions } from './handlers.ts';

/** One command that waits for its answer. The payload is valid and owned. */
export interface CommandCall<C extends Command = Command> extends CommandInfo {
  readonly payload: RequestOutput<C>;
  /** Answers it: with a value, or with items where the command is a stream. Later answers are ignored. */
  readonly respond: (answer: CommandAnswer<C>) => void;
  /** Answers it with an error. */
  readonly fail: (error: unknown) => void;
}

export type CommandStreams<C extends CommandMap> = { readonly [K in keyof C]: Observable<CommandCall<C[K]>> };

/**
 * The commands that come, one Observable each. They are hot: all subscribers of a command see it, and the first answer counts. Reading
 * starts shortly after the first subscription, so that all that are made together miss nothing; commands that nobody subscribes to then
 * are answered with {@link UnknownCommandError}. A command waits for its answer without a limit of its own: its client's `timeoutMs` and
 * the server's `maxInFlight` bound it. The Observables complete with the server; when nobody
 * subscribes to any of them any more, reading stops: calls that were delivered can still be answered, and what comes waits for the next subscriber.
 *
 * @example
 * const { add, push } = commands$(server, commands);
 * add.subscribe(({ payload: { a, b }, respond }) => respond({ sum: a + b }));
 * push.pipe(bufferCount(10)).subscribe((calls) => calls.forEach((call) => call.respond({ length: store(call.payload) })));
 */
export function commands$<C extends CommandMap>(
  server: IpcServer,
  commands: Commands<C>,
  options: FailureOptions = {},
): CommandStreams<C> {
  const subjects = new Map(Object.keys(commands.definitions).map((name) => [name, new Subject<CommandCall>()]));
  const anyObserved = (): boolean => [...subjects.values()].some((subject) => subject.observed);
  let reading: Subscription | undefined;

  const read = (): void => {
    if (reading !== undefined || !anyObserved()) return;
    const observed = (name: string): boolean => subjects.get(name)?.observed === true;
    const dispatcher = new Dispatcher(server, commands, options, observed);
    const deliver = ({ command, payload, info }: Opened): Promise<unknown> =>
      new Promise((resolve, reject) => {
        subjects.get(command)?.next(new Call(payload, info, resolve, reject));
      });
    const complete = (): void => {
      for (const subject of subjects.values()) subject.complete();
    };
    reading = answerAll(server, (_clientId, _span, request) => dispatcher.handle(request, deliver), {}, complete);
    reading.add(dispatcher.subscription);
  };
  const stop = (): void => {
    if (anyObserved()) return;
    reading?.unsubscribe();
    reading = undefined;
  };

  const streams = [...subjects].map(([name, subject]): [string, Observable<CommandCall>] => [
    name,
    new Observable((subscriber) => {
      const subscription = subject.subscribe(subscriber);
      queueMicrotask(read);
      subscription.add(stop);
      return subscription;
    }),
  ]);
  // One Observable per key of C, each with the payloads that its schema made.
  return Object.fromEntries(streams) as unknown as CommandStreams<C>;
}

class Call implements CommandCall {
  readonly payload: unknown;
  readonly respond: (answer: unknown) => void;
  readonly fail: (error: unknown) => void;
  readonly #info: CommandInfo;

  constructor(payload: unknown, info: CommandInfo, respond: (answer: unknown) => void, fail: (error: unknown) => void) {
    this.payload = payload;
    this.#info = info;
    this.respond = respond;
    this.fail = fail;
  }

  get command(): string {
    return this.#info.command;
  }

  get clientId(): number {
    return this.#info.clientId;
  }

  get signal(): AbortSignal {
    return this.#info.signal;
  }

  get metadata(): ReadonlyMap<string, string> | undefined {
    return this.#info.metadata;
  }

  get deadlineMs(): number | undefined {
    return this.#info.deadlineMs;
  }
}
