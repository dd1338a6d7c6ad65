/** The lazy server: commands wait until the program asks for them, and nothing runs in between. */
import type { HandlerOutput, IpcRequest, IpcServer, ServerOptions } from '@spanwire/ipc-core';
import type { CommandMap } from './command.ts';
import type { Commands } from './define-commands.ts';
import { Dispatcher, isItems } from './dispatcher.ts';
import type { CommandHandlers, FailureOptions } from './handlers.ts';
import { runHandlers, type RunHandlers } from './run-handlers.ts';
import { isPromise } from './schema.ts';
import { transportOf } from './transport.ts';

export interface CommandServerAddress extends Omit<ServerOptions, 'hello'> {
  /** `unix:/path`, a path, `pipe:name`, `tcp:host:port` or `shm:name`. Unix sockets are readable and writable by the current user alone. */
  readonly address: string;
  /** Take the address over from the running server of the same user, which drains and leaves. Unix addresses only. */
  readonly takeover?: boolean | undefined;
}

export interface CommandServerOfYours {
  /** A server of any transport, in place of an address. It listens when you say so; `close()` closes it. */
  readonly server: IpcServer;
}

export type CommandServerOptions = FailureOptions & (CommandServerAddress | CommandServerOfYours);

/** How much one call may do. What is left waits for the next one. */
export interface HandleMessagesOptions {
  /** No command starts later than this after the first, in milliseconds. At least one runs. Default: no limit. */
  readonly budgetMs?: number | undefined;
  /** Commands at most, from 1. Default: all that wait. */
  readonly maxMessages?: number | undefined;
}

/** The context is left out where no handler needs one. */
export type HandleMessagesArguments<Context> = undefined extends Context
  ? [context?: Context, options?: HandleMessagesOptions]
  : [context: Context, options?: HandleMessagesOptions];

/** What {@link createCommandServer} makes. */
export interface CommandServer<Context> {
  /** The server below: who is connected, counters, `closed`, shutdown. Its `requests$` is not free. */
  readonly ipc: IpcServer;
  /** Commands that have arrived and wait. Takes in what shared memory holds; of sockets, what the event loop has read. */
  readonly pendingCount: number;
  /**
   * Takes in what has arrived, runs each command, one after the other, and answers it. Resolves with how many.
   *
   * First the event loop turns twice, so that what lies in the sockets comes in. Commands that arrive while these run wait for the next
   * call. Of each client they run in the order in which they were sent; clients take turns. Rejects with TypeError when the last call has
   * not resolved yet. Bad commands and handlers that throw are answered with an error and count too.
   *
   * @example
   * for (;;) {
   *   await server.handleNewMessages(stack);
   *   await setTimeout(1_000); // of node:timers/promises: the program's own work
   * }
   */
  handleNewMessages(...args: HandleMessagesArguments<Context>): Promise<number>;
  /**
   * As `handleNewMessages`, without a promise and without a turn of the event loop: for synchronous loops over shared memory. Over sockets
   * it sees what the event loop has read before. Throws TypeError when a handler or validator returns a promise; that command is answered
   * with an error, and the others wait. Never waits itself.
   *
   * @example
   * const handled = server.handleNewMessagesSync(world, { budgetMs: 2 }); // once a frame
   */
  handleNewMessagesSync(...args: HandleMessagesArguments<Context>): number;
  /** Answers what still waits with ERR_IPC_REFUSED and closes. */
  close(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

/**
 * Makes a server that processes commands only inside of `handleNewMessages`: between calls they wait, bounded per client, and no thread
 * or timer works on them. Resolves when it listens.
 *
 * The type of the context comes from the handlers that say it (`(payload, stack: number[]) => ...`), or from
 * `createCommandServer<typeof commands, number[]>(...)`. A client that is not served soon is not dropped (`stalledClient` is `keep` by
 * default).
 *
 * Rejects with what `listen()` of the transport rejects with, ERR_IPC_NATIVE_UNAVAILABLE when the package of an address is missing, and
 * TypeError or RangeError on bad options.
 *
 * @example
 * const stack: number[] = [];
 * await using server = await createCommandServer(
 *   commands,
 *   { push: ({ x }, stack: number[]) => ({ length: stack.push(x) }) },
 *   { address: 'unix:/run/user/1000/stack.sock' },
 * );
 * const handled = await server.handleNewMessages(stack);
 */
export async function createCommandServer<C extends CommandMap, Context>(
  commands: Commands<C>,
  handlers: CommandHandlers<NoInfer<C>, Context>,
  options: CommandServerOptions,
): Promise<CommandServer<Context>> {
  const given: unknown = options;
  if (typeof given !== 'object' || given === null) {
    throw new TypeError(`Expected \`options\` to have an \`address\` or a \`server\`, got ${String(given)}`);
  }
  const run = runHandlers(commands, handlers);
  if ('server' in options) {
    return new LazyServer(options.server, new Dispatcher(options.server, commands, options), run);
  }
  const { address, takeover, onFailure, ...serverOptions } = options;
  const transport = await transportOf(address);
  const ipc = transport.createServer(address, { stalledClient: { action: 'keep' }, ...serverOptions });
  const dispatcher = new Dispatcher(ipc, commands, onFailure === undefined ? {} : { onFailure });
  const server = new LazyServer<Context>(ipc, dispatcher, run);
  await ipc.listen({ takeover });
  return server;
}

class LazyServer<Context> implements CommandServer<Context> {
  readonly ipc: IpcServer;
  readonly #dispatcher: Dispatcher;
  readonly #run: RunHandlers<Context>;
  readonly #clients = new Set<number>();
  /** Whose turn it was last: the next call begins after it. */
  #lastServed = 0;
  #busy = false;

  constructor(ipc: IpcServer, dispatcher: Dispatcher, run: RunHandlers<Context>) {
    this.ipc = ipc;
    this.#dispatcher = dispatcher;
    this.#run = run;
    ipc.clients$.subscribe(({ type, clientId }) => {
      if (type === 'connected') this.#clients.add(clientId);
      else this.#clients.delete(clientId);
    });
  }

  get pendingCount(): number {
    return this.ipc.poll();
  }

  async handleNewMessages(...[context, options]: HandleMessagesArguments<Context>): Promise<number> {
    const limits = limitsOf(options);
    this.#begin();
    try {
      // From wherever it is called, the second turn has gone through a whole poll for input.
      await turn();
      await turn();
      let handled = 0;
      for (const request of this.#waiting(limits)) {
        handled++;
        const answered = this.#answer(request, context as Context);
        if (answered !== undefined) await answered;
      }
      return handled;
    } finally {
      this.#busy = false;
    }
  }

  handleNewMessagesSync(...[context, options]: HandleMessagesArguments<Context>): number {
    const limits = limitsOf(options);
    this.#begin();
    try {
      let handled = 0;
      for (const request of this.#waiting(limits)) {
        handled++;
        if (this.#answer(request, context as Context) === undefined) continue;
        const mistake = new TypeError(
          'Expected handlers and validators to return values in handleNewMessagesSync, got a promise: use handleNewMessages',
        );
        // The promise comes too late: this is the answer.
        this.#fail(request, mistake);
        throw mistake;
      }
      return handled;
    } finally {
      this.#busy = false;
    }
  }

  async close(): Promise<void> {
    await this.ipc.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #begin(): void {
    if (this.#busy) {
      throw new TypeError('Expected one call of handleNewMessages at a time, got one while another is not finished');
    }
    this.#busy = true;
  }

  /** What waits now, one request of each client in turn. */
  *#waiting({ budgetMs, maxMessages }: Limits): Generator<IpcRequest, void, undefined> {
    const limit = Math.min(this.ipc.poll(), maxMessages);
    const startedMs = performance.now();
    let taken = 0;
    for (let round = this.#inTurn(); round.length > 0;) {
      const again: number[] = [];
      for (const clientId of round) {
        if (taken === limit || (taken > 0 && performance.now() - startedMs >= budgetMs)) return;
        const request = this.ipc.receive(clientId);
        if (request === undefined) continue;
        taken++;
        this.#lastServed = clientId;
        again.push(clientId);
        yield request;
      }
      round = again;
    }
  }

  #inTurn(): number[] {
    // Ids only grow, so this is the order of arrival.
    const clients = [...this.#clients];
    const next = clients.findIndex((clientId) => clientId > this.#lastServed);
    return next <= 0 ? clients : [...clients.slice(next), ...clients.slice(0, next)];
  }

  /** Answers one request; undefined when that is done, else a promise that never rejects. */
  #answer(request: IpcRequest, context: Context): Promise<void> | undefined {
    let output: HandlerOutput | Promise<HandlerOutput>;
    try {
      output = this.#dispatcher.handle(request, (opened) => this.#run(opened, context));
    } catch (error) {
      this.#fail(request, error);
      return undefined;
    }
    if (!isPromise(output)) {
      this.#respond(request, output);
      return undefined;
    }
    return output.then(
      (value) => this.#respond(request, value),
      (error: unknown) => this.#fail(request, error),
    );
  }

  #respond({ clientId, requestId }: IpcRequest, output: HandlerOutput): void {
    if (isItems(output)) this.ipc.responses.next({ clientId, requestId, items: output });
    else this.ipc.responses.next({ clientId, requestId, data: output });
  }

  #fail({ clientId, requestId }: IpcRequest, error: unknown): void {
    this.ipc.responses.next({ clientId, requestId, error: error ?? new Error(`The handler threw ${String(error)}`) });
  }
}

interface Limits {
  readonly budgetMs: number;
  readonly maxMessages: number;
}

function limitsOf({ budgetMs = Infinity, maxMessages = Infinity }: HandleMessagesOptions = {}): Limits {
  if (typeof budgetMs !== 'number' || !(budgetMs >= 0)) {
    throw new RangeError(`Expected \`budgetMs\` to be a number of milliseconds from 0, got ${String(budgetMs)}`);
  }
  if (!(maxMessages === Infinity || (Number.isInteger(maxMessages) && maxMessages >= 1))) {
    throw new RangeError(`Expected \`maxMessages\` to be an integer from 1, got ${String(maxMessages)}`);
  }
  return { budgetMs, maxMessages };
}

function turn(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}
