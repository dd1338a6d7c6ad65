/** The contract that every transport keeps: what users of servers and clients see. */
import type { Observable, Observer, OperatorFunction, Subscription } from 'rxjs';

/** Bytes as they leave the library: never backed by a SharedArrayBuffer. */
export type Bytes = Uint8Array<ArrayBuffer>;

/**
 * Items of a stream. Subscribing takes them as they come. Iterating (`for await`) takes one at a time and gives credit only for what was
 * taken, so a slow loop slows the sender down; leaving the loop cancels the stream.
 */
export interface ItemStream extends Observable<Bytes>, AsyncIterable<Bytes> {}

/** A request that expects an answer. `clientId` and `requestId` are own fields, so spreading a request into its answer works. */
export interface IpcRequest {
  /** Unique in the server's life, never reused. */
  readonly clientId: number;
  /** Assigned by the server, never reused; the id on the wire stays inside. */
  readonly requestId: number;
  /**
   * The payload: a borrowed view, valid until `release()`, the answer, or the client's departure. Copy what must live
   * longer, and hand it to no asynchronous API uncopied. The getter throws `SpanReleasedError` afterwards.
   */
  readonly span: Bytes;
  /** Gives the bytes back to that client's window. Idempotent. Answering releases by itself. */
  release(): void;
  /** Answers through the sink. False when the request was answered already or its client left; that answer is counted and dropped. */
  respond(data: Uint8Array): boolean;
  /**
   * Room for an answer of `payloadBytes`, to be written in place: over shared memory a span of the ring, so that nothing is copied. Elsewhere, and for
   * messages larger than a quarter of the ring, it is memory of its own, which is sent as usual. Publish it, give its span as the answer
   * (in a handler: return it), or abort it: nothing else is sent to that client while it is open, so fill it without waiting for others.
   *
   * Never waits. Undefined: there is no room now, or another answer to that client is being written, or nobody waits for the answer any more; then answer by
   * `respond`. Throws a RangeError or TypeError on a size that is none, MessageTooLargeError beyond `maxMessageBytes`, and a TypeError while
   * this request has a claim open.
   *
   * @example
   * server.respond((_clientId, request, info) => {
   *   const span = info.claim(4 * request.length)?.span ?? new Uint8Array(4 * request.length);
   *   render(request, span);
   *   return span;
   * });
   */
  claim(payloadBytes: number): ResponseClaim | undefined;
  /** Aborts when the client cancels, the deadline passes, or the client leaves. Made on first use. */
  readonly signal: AbortSignal;
  readonly metadata: ReadonlyMap<string, string> | undefined;
  /** Milliseconds that were left when the request arrived; undefined without a deadline. */
  readonly deadlineMs: number | undefined;
  /** What the client streams up, for duplex requests; undefined for the others. For one subscriber, or one loop. */
  readonly input$: ItemStream | undefined;
}

/** Exactly one per request. Nothing but ids: the request is released and ended without an answer. */
export type IpcResponse = { clientId: number; requestId?: number | undefined } & (
  | { data?: Uint8Array | undefined; error?: undefined; items?: undefined }
  | { error: unknown; data?: undefined; items?: undefined }
  | { items: AsyncIterable<Uint8Array> | Observable<Uint8Array>; data?: undefined; error?: undefined }
);

/** A one-way message of a client: an owned copy. */
export interface IpcMessage {
  readonly clientId: number;
  readonly data: Bytes;
}

/** Why a connection ended. */
export type DisconnectReason = 'closed' | 'gone' | 'protocol' | 'stalled' | 'unauthorized' | 'shutdown';

/** Who the peer is, where the transport can know it. */
export interface PeerInfo {
  readonly uid: number;
  readonly pid: number;
}

/** A client came or left. */
export type ClientEvent =
  | {
      type: 'connected';
      clientId: number;
      framing: 'spanwire' | 'plain';
      peer?: PeerInfo | undefined;
      /** The application bytes of the client's hello. */
      hello?: Bytes | undefined;
    }
  | { type: 'disconnected'; clientId: number; reason: DisconnectReason; error?: Error | undefined };

/** Counters of one server since it was made; `clients` and `openRequests` are of now. */
export interface ServerStats {
  readonly clients: number;
  readonly openRequests: number;
  readonly requests: number;
  readonly responses: number;
  readonly messages: number;
  /** Answers whose client or request was gone, and second answers. */
  readonly droppedAnswers: number;
  /** Pushes that found a full window, or a client that takes none. */
  readonly droppedPushes: number;
  /** Requests answered ERR_IPC_REFUSED because shutdown came first. */
  readonly refused: number;
  readonly bytesIn: number;
  readonly bytesOut: number;
}

export type HandlerOutput = Uint8Array | undefined | Observable<Uint8Array> | AsyncIterable<Uint8Array>;

/** Answers one request. `info` has the rest of the request. `undefined` means no answer; a throw answers with an error. */
export type Handler = (clientId: number, request: Bytes, info: IpcRequest) => HandlerOutput | Promise<HandlerOutput>;

export interface HandleOptions {
  /** How many handlers run at once; default no bound beyond `maxInFlight` of each client. */
  concurrency?: number | undefined;
  /** Order of the answers: as handlers complete (the default), or as requests came. */
  order?: 'completion' | 'request' | undefined;
}

/** The one implementation of handlers: requests in, answers out. */
export type Answer = (handler: Handler, options?: HandleOptions) => OperatorFunction<IpcRequest, IpcResponse>;

export interface ListenOptions {
  /** Take the address over from the running server of the same user, which drains and leaves. Unix addresses only. */
  takeover?: boolean | undefined;
}

export interface ShutdownOptions {
  /** How long running requests may take to finish. 0 to 2^31 - 1 ms; default the server's `graceMs`. */
  graceMs?: number | undefined;
}

/** Requests in, answers out. Made by a transport's `createXServer`. */
export interface IpcServer {
  /** Requests as they come. One subscriber at a time. Completes when the server shuts down. */
  readonly requests$: Observable<IpcRequest>;
  /** The sink for answers. Its `complete()` is `requestShutdown()`; its `error(e)` closes the server with that reason. */
  readonly responses: Observer<IpcResponse>;
  /** One-way messages, as owned copies. */
  readonly messages$: Observable<IpcMessage>;
  /** Who comes and leaves; replays who is connected now. */
  readonly clients$: Observable<ClientEvent>;
  readonly stats: ServerStats;
  /** Settles when the server is closed; rejects with the reason when its pipeline failed. Never an unhandled rejection. */
  readonly closed: Promise<void>;
  listen(options?: ListenOptions): Promise<void>;
  /** Pushes to one client. Never waits: false when that client's window is full, it takes no pushes, or it left. */
  send(clientId: number, data: Uint8Array): boolean;
  /** Pushes to every client that takes pushes; returns how many took it. */
  broadcast(data: Uint8Array): number;
  requestShutdown(options?: ShutdownOptions): void;
  /** Closes at once: running requests fail at their clients. */
  close(): Promise<void>;
  /** `requests$.pipe(answer(handler, options)).subscribe(responses)`. */
  respond(handler: Handler, options?: HandleOptions): Subscription;
  /** Listens when not yet listening, responds, and resolves after shutdown. */
  run(handler: Handler, options?: HandleOptions): Promise<void>;
  /** Pull: a client with a request, round-robin. No timeout: for ever; 0: no wait. Undefined: timeout or shutdown. */
  waitForData(timeoutMs?: number): Promise<number | undefined>;
  /** Pull: that client's next request, or undefined. Advances; does not release. */
  receive(clientId: number): IpcRequest | undefined;
  /** Pull: the next client that was not reported yet. */
  accept(timeoutMs?: number): Promise<number | undefined>;
  /** Takes what is there without waiting (sockets: what the event loop has read); returns how many requests wait. */
  poll(): number;
  ref(): void;
  unref(): void;
  [Symbol.asyncDispose](): Promise<void>;
}

export interface CallOptions {
  /** Cancels the call; it rejects with the signal's reason. */
  signal?: AbortSignal | undefined;
  /** Rejects with ERR_IPC_TIMEOUT and cancels on the server. 0 to 2^31 - 1 ms; default none. Travels as the deadline. */
  timeoutMs?: number | undefined;
  /** At most 1 KiB encoded. */
  metadata?: ReadonlyMap<string, string> | undefined;
}

/** A reply that is borrowed from the transport until `release()`. */
export interface IpcReply {
  readonly span: Bytes;
  release(): void;
}

/**
 * A writable span in the ring, of one channel. One open at a time: until it is published or aborted, no other data frame leaves through that
 * channel (`trySend` returns false, and `onRoom` follows).
 */
export interface Claim {
  /** What it holds before it is written is unspecified. The getter throws `SpanReleasedError` once the claim is over. */
  readonly span: Bytes;
  /** Sends the frame. Does nothing once the claim is over or the channel closed. */
  publish(): void;
  /** Gives the room back, and sends nothing. Does nothing once the claim is over. */
  abort(): void;
}

/**
 * A request that is written where it leaves from: see {@link IpcClient.claim}.
 *
 * Ownership: `span` is the caller's to write until `publish()` or `abort()`, one of which has to be called. Whoever still has the view afterwards must
 * not write into it: in shared memory those bytes belong to other messages by then. When the connection ends, a view into its memory gets length 0.
 */
export interface RequestClaim {
  /** `payloadBytes` bytes to be written; what they hold before that is unspecified. The getter throws `SpanReleasedError` once the claim is over. */
  readonly span: Bytes;
  /**
   * Sends what was written as a request, and resolves with an owned copy of the answer. Fails as {@link IpcClient.request} does; with
   * ERR_IPC_PEER_GONE or ERR_IPC_CLOSED also when the connection ended before it, and then nothing was sent. Never throws; rejects with a
   * TypeError when the claim was published or aborted before.
   */
  publish(): Promise<Bytes>;
  /** Gives the room back, and sends nothing. Does nothing once the claim is over: it may stand in a `finally`. */
  abort(): void;
}

/**
 * An answer that is written where it leaves from: see {@link IpcRequest.claim}. Ownership as of {@link RequestClaim}; an answer of another kind
 * (`respond`, an error, the sink) aborts the claim.
 */
export interface ResponseClaim extends Claim {
  /**
   * Answers the request with what was written, through the sink, as `respond(claim.span)` does. False when the request was answered already, was cancelled,
   * or its client left; that answer is counted and dropped. Throws a TypeError when the claim was published or aborted before.
   */
  publish(): boolean;
}

export type ClientState = 'idle' | 'connecting' | 'connected' | 'reconnecting' | 'draining' | 'closed';

/** Counters of one client. */
export interface ClientStats {
  /** Calls that are not settled, those given up included until the server ended them. */
  readonly pending: number;
  /** Pushes that found a full queue. */
  readonly droppedPushes: number;
  /** How often the client connected again. */
  readonly reconnects: number;
}

/** Sends requests, gets answers. Made by a transport's `createXClient`. Data given to it may be reused when the call returns. */
export interface IpcClient {
  connect(): Promise<void>;
  /** One request, one answer: an owned copy. */
  request(data: Uint8Array, options?: CallOptions): Promise<Bytes>;
  /**
   * Room for a request of `payloadBytes`, to be written in place: over shared memory a span of the ring, so that nothing is copied. Elsewhere, and for
   * messages larger than a quarter of the ring, it is memory of its own, which is sent as usual. Publish or abort it: nothing else is sent through
   * this client while it is open (it waits), so fill it without waiting for others. `options.timeoutMs` counts from `publish()`.
   *
   * Never waits. Undefined: there is no room now, as `trySend` says false: someone waits, the client is not connected, or `maxPending` calls are
   * pending; `request` waits for its turn. Throws a RangeError or TypeError on bad arguments, the signal's reason when that has aborted,
   * MessageTooLargeError beyond `maxMessageBytes`, ERR_IPC_UNSUPPORTED for metadata in plain framing, and a TypeError while another claim is open.
   *
   * @example
   * const claim = client.claim(4 * pixels);
   * if (claim === undefined) return client.request(render(new Uint8Array(4 * pixels)));
   * try {
   *   render(claim.span);
   *   return await claim.publish();
   * } finally {
   *   claim.abort(); // when render() threw
   * }
   */
  claim(payloadBytes: number, options?: CallOptions): RequestClaim | undefined;
  /** Cold: each subscription or loop sends a request. 0 to n items; unsubscribing, or leaving the loop, cancels on the server. */
  request$(data: Uint8Array, options?: CallOptions): ItemStream;
  /** Cold: a stream each way. An `input$` that is an AsyncIterable as well is pulled only on credit. */
  duplex$(data: Uint8Array, input$: Observable<Uint8Array>, options?: CallOptions): ItemStream;
  /** As `request`, with a borrowed reply: release it soon, it holds the response window. */
  exchange(data: Uint8Array, options?: CallOptions): Promise<IpcReply>;
  /** One-way; resolves when accepted by the transport, so awaiting it is backpressure. */
  send(data: Uint8Array, options?: CallOptions): Promise<void>;
  /** One-way, without waiting: false when there is no room now, someone waits, or the client is not connected. */
  trySend(data: Uint8Array): boolean;
  /** The next push, pull form. No timeout: for ever. Undefined: timeout or closed. */
  receive(timeoutMs?: number): Promise<Bytes | undefined>;
  /** Pushes; shares one bounded queue with `receive`. */
  readonly messages$: Observable<Bytes>;
  readonly stats: ClientStats;
  /** Replays the current state. */
  readonly state$: Observable<ClientState>;
  /** Flushes what was sent, then closes; calls in flight reject with ERR_IPC_CLOSED. */
  close(): Promise<void>;
  ref(): void;
  unref(): void;
  [Symbol.asyncDispose](): Promise<void>;
}
