/** Requests whose outcome goes to functions: a promise costs more than all the rest of a small request. */
import type { Bytes, CallOptions, IpcClient } from './contract.ts';

/** A request on its way. */
export interface PendingRequest {
  /** As aborting the signal of a request: `onError` gets `reason`, and the server is told. Afterwards it does nothing. */
  giveUp(reason: unknown): void;
}

/** A client that can do it by itself: those of {@link createClient}. */
export interface RequestsWith {
  requestWith(
    data: Uint8Array,
    onReply: (reply: Bytes) => void,
    onError: (error: unknown) => void,
    options: CallOptions | undefined,
  ): PendingRequest;
}

/**
 * As `client.request(data, options)`, with functions for the outcome, for authors of operators. One of them is called, once, and maybe before this
 * returns; neither may throw. `onReply` gets an owned copy, like `request`.
 *
 * @example
 * const pending = requestWith(client, payload, (reply) => subscriber.next(reply), (error) => subscriber.error(error));
 * subscriber.add(() => pending.giveUp(new IpcError('ERR_IPC_CANCELLED', 'The request was unsubscribed')));
 */
export function requestWith(
  client: IpcClient,
  data: Uint8Array,
  onReply: (reply: Bytes) => void,
  onError: (error: unknown) => void,
  options?: CallOptions,
): PendingRequest {
  const own = client as IpcClient & Partial<RequestsWith>;
  if (own.requestWith !== undefined) return own.requestWith(data, onReply, onError, options);
  // Somebody else's client, or one that is wrapped.
  const abort = new AbortController();
  const { signal } = options ?? {};
  client
    .request(data, {
      ...options,
      signal: signal === undefined ? abort.signal : AbortSignal.any([signal, abort.signal]),
    })
    .then(onReply, onError);
  return { giveUp: (reason) => abort.abort(reason) };
}
