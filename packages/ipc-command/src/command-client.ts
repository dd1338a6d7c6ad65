/** The client: one method per command. */
import type { CallOptions, ClientOptions, IpcClient, ItemStream } from '@spanwire/ipc-core';
import { concatMap, defer, from } from 'rxjs';
import { decodeAnswer, encodeRequest } from './codec.ts';
import type { Command, CommandMap, RequestInput, ResponseOutput } from './command.ts';
import { CommandStream } from './command-stream.ts';
import type { Commands } from './define-commands.ts';
import { InvalidPayloadError, InvalidResponseError } from './errors.ts';
import { chain, isPromise, validate, type MaybePromise } from './schema.ts';
import { transportOf } from './transport.ts';

/** The payload is left out where it may be undefined. */
export type CommandArguments<C extends Command> =
  undefined extends RequestInput<C>
    ? [payload?: RequestInput<C>, options?: CallOptions]
    : [payload: RequestInput<C>, options?: CallOptions];

/** A call resolves with its answer. */
export type CommandMethod<C extends Command> = (
  ...args: CommandArguments<C>
) => C['kind'] extends 'stream' ? CommandStream<ResponseOutput<C>> : Promise<ResponseOutput<C>>;

export interface CommandClientControl {
  /** Connects, where the first command would otherwise do so. Once connected, a lost connection is `reconnect`'s business. */
  connect(): Promise<void>;
  /** Commands that wait for their answer reject with ERR_IPC_CLOSED. */
  close(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

export type CommandClient<C extends CommandMap> = CommandClientControl & {
  readonly [K in keyof C]: CommandMethod<C[K]>;
};

export interface CommandClientOptions extends Omit<ClientOptions, 'hello'> {
  /**
   * Talk to servers with another definition, too: payloads and answers are still validated, one by one. Default false: such a server
   * answers every command with {@link VersionMismatchError}.
   */
  readonly anyVersion?: boolean | undefined;
}

/**
 * Makes a client with one typed method per command. It connects with the first command.
 *
 * Methods reject with {@link InvalidPayloadError} (nothing was sent, or the server did not run it), {@link UnknownCommandError},
 * {@link VersionMismatchError}, {@link InvalidResponseError}, `RemoteError` when the handler failed, and with ipc-core's errors: timeouts,
 * a server that is gone, and so on. Throws TypeError or RangeError when the address or an option is not valid.
 *
 * @example
 * await using client = createCommandClient(commands, 'unix:/run/user/1000/stack.sock');
 * const { sum } = await client.add({ a: 5, b: 3 }, { timeoutMs: 5_000 });
 * client.ticks().pipe(take(3)).subscribe(console.log);
 */
export function createCommandClient<C extends CommandMap>(
  commands: Commands<C>,
  address: string,
  options: CommandClientOptions = {},
): CommandClient<C> {
  const { anyVersion = false, ...clientOptions } = options;
  const ipcOptions: ClientOptions = anyVersion ? clientOptions : { ...clientOptions, hello: commands.hello };
  const ipc = chain(transportOf(address), (transport) => transport.createClient(address, ipcOptions));
  return commandClient(commands, ipc);
}

/**
 * As {@link createCommandClient}, on a client of any transport. It is connected with the first command, and closed with `close()`. For the check
 * of versions, `ipc` has to be made with `hello: commands.hello`.
 *
 * @example
 * const client = commandClient(commands, createMemoryClient('stack', { hello: commands.hello }));
 */
export function commandClient<C extends CommandMap>(
  commands: Commands<C>,
  ipc: MaybePromise<IpcClient>,
): CommandClient<C> {
  const connection = new Connection(ipc);
  // Without a prototype: nothing but the commands and these.
  const client: Record<PropertyKey, unknown> = Object.assign(Object.create(null) as object, {
    connect: () => connection.connect(),
    close: () => connection.close(),
    [Symbol.asyncDispose]: () => connection.close(),
  });
  for (const [name, definition] of Object.entries(commands.definitions)) {
    client[name] =
      definition.kind === 'call'
        ? (payload: unknown, options?: CallOptions) => call(connection, name, definition, payload, options)
        : (payload: unknown, options?: CallOptions) => stream(connection, name, definition, payload, options);
  }
  return client as CommandClient<C>;
}

async function call(
  connection: Connection,
  name: string,
  definition: Command,
  payload: unknown,
  options?: CallOptions,
): Promise<unknown> {
  const encoded = encode(name, definition, payload);
  const bytes = isPromise(encoded) ? await encoded : encoded;
  const opened = connection.open();
  const ipc = isPromise(opened) ? await opened : opened;
  return decode(name, definition, await ipc.request(bytes, options));
}

function stream(
  connection: Connection,
  name: string,
  definition: Command,
  payload: unknown,
  options?: CallOptions,
): CommandStream<unknown> {
  const open = async (): Promise<ItemStream> => {
    const bytes = await encode(name, definition, payload);
    return (await connection.open()).request$(bytes, options);
  };
  const values$ = defer(open).pipe(
    concatMap((items$) => items$),
    concatMap((item) => {
      const value = decode(name, definition, item);
      return isPromise(value) ? from(value) : [value];
    }),
  );
  return new CommandStream(values$, async function* () {
    for await (const item of await open()) yield await decode(name, definition, item);
  });
}

/** Validates, and encodes the payload as it was given: transformations are the server's. */
function encode(name: string, definition: Command, payload: unknown): MaybePromise<Uint8Array> {
  return chain(validate(definition.request, payload), (result) => {
    if (result.issues !== undefined) throw new InvalidPayloadError(name, result.issues);
    return encodeRequest(name, payload);
  });
}

function decode(name: string, definition: Command, bytes: Uint8Array): MaybePromise<unknown> {
  return chain(validate(definition.response, decodeAnswer(name, bytes)), (result) => {
    if (result.issues !== undefined) throw new InvalidResponseError(name, result.issues);
    return result.value;
  });
}

/** An IpcClient that connects when it is needed. */
class Connection {
  readonly #ipc: MaybePromise<IpcClient>;
  #connecting: Promise<void> | undefined;

  constructor(ipc: MaybePromise<IpcClient>) {
    this.#ipc = ipc;
    // Told to whoever uses it; not a reason to end the process before.
    if (isPromise(ipc)) ipc.catch(() => undefined);
  }

  /** The client, connecting: what is sent now waits for that. */
  open(): MaybePromise<IpcClient> {
    return chain(this.#ipc, (ipc) => {
      // Its failure is told by what waits.
      this.#start(ipc).catch(() => undefined);
      return ipc;
    });
  }

  async connect(): Promise<void> {
    await this.#start(await this.#ipc);
  }

  async close(): Promise<void> {
    let ipc: IpcClient;
    try {
      ipc = await this.#ipc;
    } catch {
      // Never made: nothing to close.
      return;
    }
    await ipc.close();
  }

  /** Once it succeeded, never again: then the client's `reconnect` has the say. */
  #start(ipc: IpcClient): Promise<void> {
    this.#connecting ??= ipc.connect().catch((error: unknown) => {
      this.#connecting = undefined;
      throw error;
    });
    return this.#connecting;
  }
}
