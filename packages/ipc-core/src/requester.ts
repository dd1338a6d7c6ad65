/** Requests whose outcome goes to functions: a promise costs more than all the rest of a small request. */
import type { Bytes, CallOptions, IpcClient } from './contract.ts';

/** Makes requests, one at a time. */
export interface Requester {
  /**
   * As `client.request(data, options)`, for the functions that the requester was made with: one of them is called, once, and maybe before this
   * returns. Throws a TypeError while another request of this requester is on its way.
   */
  request(data: Uint8Array, options?: CallOptions): void;
  /** As aborting the signal of the request: `onError` gets `reason`, and the server is told. Does nothing when none is on its way. */
  giveUp(reason: unknown): void;
}

/** A client that can do it by itself: those of {@link createClient}. */
export interface MakesRequesters {
  requester(onReply: (reply: Bytes) => void, onError: (error: unknown) => void): Requester;
}

/**
 * For authors of operators: requests with functions for their outcome. Make one for each request that may be on its way at once, and use it again:
 * then a request leaves nothing behind but its answer. `onReply` gets an owned copy, like `request`; it may make the next request at once. Neither
 * function may throw.
 *
 * @example
 * const each = requester(client, (reply) => subscriber.next(reply), (error) => subscriber.error(error));
 * subscriber.add(() => each.giveUp(new IpcError('ERR_IPC_CANCELLED', 'The request was unsubscribed')));
 * each.request(payload);
 */
export function requester(
  client: IpcClient,
  onReply: (reply: Bytes) => void,
  onError: (error: unknown) => void,
): Requester {
  const own = client as IpcClient & Partial<MakesRequesters>;
  return own.requester?.(onReply, onError) ?? new PromisedRequester(client, onReply, onError);
}

/** On somebody else's client, or one that is wrapped. */
class PromisedRequester implements Requester {
  readonly #client: IpcClient;
  readonly #onReply: (reply: Bytes) => void;
  readonly #onError: (error: unknown) => void;
  /** Of the request on its way. */
  #abort: AbortController | undefined;

  constructor(client: IpcClient, onReply: (reply: Bytes) => void, onError: (error: unknown) => void) {
    this.#client = client;
    this.#onReply = onReply;
    this.#onError = onError;
  }

  request(data: Uint8Array, options?: CallOptions): void {
    if (this.#abort !== undefined) throw secondRequest();
    const abort = new AbortController();
    const given = options?.signal;
    const signal = given === undefined ? abort.signal : AbortSignal.any([given, abort.signal]);
    const reply = this.#client.request(data, { ...options, signal });
    this.#abort = abort;
    reply.then(
      (bytes) => {
        this.#abort = undefined;
        this.#onReply(bytes);
      },
      (error: unknown) => {
        this.#abort = undefined;
        this.#onError(error);
      },
    );
  }

  giveUp(reason: unknown): void {
    this.#abort?.abort(reason);
  }
}

export function secondRequest(): TypeError {
  return new TypeError('Expected one request at a time, got a second one: make a requester for each');
}
