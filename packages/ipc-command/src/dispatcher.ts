/** The one way from a request to its answer: version, decode, validate, handle, validate, encode. Synchronous as far as its parts are. */
import type { HandlerOutput, IpcRequest, IpcServer } from '@spanwire/ipc-core';
import { concatMap, from, map, of, takeWhile, tap, type Observable, type Subscription } from 'rxjs';
import { decodeRequest, encodeAnswer, encodeError } from './codec.ts';
import type { Command } from './command.ts';
import { hashInHello, type Commands } from './define-commands.ts';
import { DESCRIBE, describe } from './description.ts';
import {
  CommandError,
  InvalidPayloadError,
  InvalidResponseError,
  UnknownCommandError,
  VersionMismatchError,
} from './errors.ts';
import type { CommandInfo, FailureOptions, Items } from './handlers.ts';
import { chain, isPromise, validate, type MaybePromise, type Schema, type Validation } from './schema.ts';

/** A command that may run. */
export interface Opened {
  readonly command: string;
  readonly definition: Command;
  readonly payload: unknown;
  readonly info: CommandInfo;
}

/** Runs one command, whatever its types. */
export type Run = (opened: Opened) => unknown;

/** An encoded item; after the last one nothing follows. */
interface Sealed {
  readonly bytes: Uint8Array;
  readonly last: boolean;
}

export class Dispatcher {
  readonly #commands: Commands;
  readonly #onFailure: FailureOptions['onFailure'];
  readonly #serves: (command: string) => boolean;
  /** Clients with another definition, and its hash. */
  readonly #strangers = new Map<number, string>();
  #description: Uint8Array | undefined;
  /** What it observes of the server. */
  readonly subscription: Subscription;

  /** `serves` says whether anybody would run a command now; without it, all of them. */
  constructor(
    server: IpcServer,
    commands: Commands,
    options: FailureOptions,
    serves: (command: string) => boolean = () => true,
  ) {
    this.#commands = commands;
    this.#onFailure = options.onFailure;
    this.#serves = serves;
    this.subscription = server.clients$.subscribe((event) => {
      if (event.type === 'disconnected') {
        this.#strangers.delete(event.clientId);
        return;
      }
      const hash = hashInHello(event.hello);
      if (hash !== undefined && hash !== commands.hash) this.#strangers.set(event.clientId, hash);
    });
  }

  /** Answers one request with what `run` makes of it. Throws, or rejects with, what `run` throws. */
  handle(request: IpcRequest, run: Run): MaybePromise<HandlerOutput> {
    return chain(this.#open(request), (opened) => {
      if (opened instanceof Uint8Array) return opened;
      let result: unknown;
      try {
        result = run(opened);
      } catch (error) {
        this.#fail(opened.info, error);
        throw error;
      }
      if (!isPromise(result)) return this.#seal(opened, result);
      return result.then(
        (value) => this.#seal(opened, value),
        (error: unknown) => {
          this.#fail(opened.info, error);
          throw error;
        },
      );
    });
  }

  /** The command of a request, or the answer that says why there is none. Throws, or rejects with, what the validator throws. */
  #open(request: IpcRequest): MaybePromise<Opened | Uint8Array> {
    let command: string;
    let payload: unknown;
    let definition: Command;
    try {
      ({ command, payload } = decodeRequest(request.span));
      // Decoded values keep nothing of the span: the client may send on while the handler works.
      request.release();
      if (command === DESCRIBE) return (this.#description ??= encodeAnswer(command, describe(this.#commands)));
      definition = this.#definitionOf(command, request.clientId);
    } catch (error) {
      if (error instanceof CommandError) return encodeError(error);
      throw error;
    }
    const info = new Info(command, request);
    return chain(this.#validate(info, definition.request, payload), (result) =>
      result.issues === undefined
        ? { command, definition, payload: result.value, info }
        : encodeError(new InvalidPayloadError(command, result.issues)),
    );
  }

  /** Throws VersionMismatchError, or UnknownCommandError. */
  #definitionOf(command: string, clientId: number): Command {
    const strange = this.#strangers.get(clientId);
    if (strange !== undefined) throw new VersionMismatchError(command, strange, this.#commands.hash);
    const { definitions } = this.#commands;
    const definition = Object.hasOwn(definitions, command) ? definitions[command] : undefined;
    if (definition === undefined || !this.#serves(command)) throw new UnknownCommandError(command);
    return definition;
  }

  /** Asks the validator; one that throws is broken, and this side is told. */
  #validate(info: CommandInfo, schema: Schema, value: unknown): MaybePromise<Validation> {
    try {
      const result = validate(schema, value);
      if (!isPromise(result)) return result;
      return result.catch((error: unknown) => {
        this.#fail(info, error);
        throw error;
      });
    } catch (error) {
      this.#fail(info, error);
      throw error;
    }
  }

  #seal(opened: Opened, result: unknown): MaybePromise<HandlerOutput> {
    const { definition } = opened;
    if (isItems(result)) {
      if (definition.kind === 'stream') return this.#sealItems(opened, result);
      return this.#refuse(opened, 'Expected one value, got a stream: define the command with streamCommand()').bytes;
    }
    if (definition.kind === 'stream') {
      return this.#refuse(opened, 'Expected an Observable or an AsyncIterable, got a value').bytes;
    }
    return chain(this.#sealValue(opened, result), ({ bytes }) => bytes);
  }

  #sealItems(opened: Opened, items: Items<unknown>): HandlerOutput {
    // An AsyncIterable stays one: it is pulled as the client takes its items.
    if (Symbol.asyncIterator in items) return this.#sealEach(opened, items);
    return items.pipe(
      tap({ error: (error: unknown) => this.#fail(opened.info, error) }),
      concatMap((item): Observable<Sealed> => {
        const sealed = this.#sealValue(opened, item);
        return isPromise(sealed) ? from(sealed) : of(sealed);
      }),
      takeWhile(({ last }) => !last, true),
      map(({ bytes }) => bytes),
    );
  }

  async *#sealEach(opened: Opened, items: AsyncIterable<unknown>): AsyncGenerator<Uint8Array, void, undefined> {
    // What a validator throws has been told already.
    let sealing = false;
    try {
      for await (const item of items) {
        sealing = true;
        const { bytes, last } = await this.#sealValue(opened, item);
        sealing = false;
        yield bytes;
        if (last) return;
      }
    } catch (error) {
      if (!sealing) this.#fail(opened.info, error);
      throw error;
    }
  }

  #sealValue(opened: Opened, value: unknown): MaybePromise<Sealed> {
    const { command, definition, info } = opened;
    return chain(this.#validate(info, definition.response, value), (result) => {
      if (result.issues !== undefined) {
        return this.#refuseWith(opened, new InvalidResponseError(command, result.issues));
      }
      try {
        // The value as the handler gave it: transformations are the receiver's.
        return { bytes: encodeAnswer(command, value), last: false };
      } catch (error) {
        return this.#refuse(opened, error instanceof Error ? error.message : String(error));
      }
    });
  }

  #refuse(opened: Opened, message: string): Sealed {
    return this.#refuseWith(opened, new InvalidResponseError(opened.command, [{ message, path: [] }]));
  }

  #refuseWith(opened: Opened, error: InvalidResponseError): Sealed {
    if (this.#onFailure === undefined) process.emitWarning(error);
    else this.#fail(opened.info, error);
    return { bytes: encodeError(error), last: true };
  }

  #fail({ command, clientId }: CommandInfo, error: unknown): void {
    try {
      this.#onFailure?.({ command, clientId, error });
    } catch (thrown) {
      // The client is to get the failure itself, and not that of who logs it.
      process.emitWarning(thrown instanceof Error ? thrown : String(thrown));
    }
  }
}

/** Whether a handler answered with a stream. */
export function isItems(value: unknown): value is Items<unknown> {
  if (typeof value !== 'object' || value === null) return false;
  return Symbol.asyncIterator in value || ('subscribe' in value && typeof value.subscribe === 'function');
}

class Info implements CommandInfo {
  readonly command: string;
  readonly clientId: number;
  readonly #request: IpcRequest;

  constructor(command: string, request: IpcRequest) {
    this.command = command;
    this.clientId = request.clientId;
    this.#request = request;
  }

  get signal(): AbortSignal {
    return this.#request.signal;
  }

  get metadata(): ReadonlyMap<string, string> | undefined {
    return this.#request.metadata;
  }

  get deadlineMs(): number | undefined {
    return this.#request.deadlineMs;
  }
}
