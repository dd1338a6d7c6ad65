/**
 * What a transport supplies: a {@link Listener} that accepts channels, a connect function, and {@link Channel}s that move
 * the frames of one connection in two lanes. Everything else (ids, streams, windows per client, shutdown) is the core's.
 *
 * A channel is also a public building block: other protocols can run on it directly.
 */
import type { Claim, DisconnectReason, PeerInfo } from './contract.ts';
import type { IpcError } from './errors.ts';
import type { PeerHello } from './hello.ts';
import type { Timers } from './timers.ts';

/** Data frames are subject to the window; control frames (at most 64 bytes) always pass. */
export type Lane = 'data' | 'control';

/** One received frame. `payload` is all that follows the 8-byte header. */
export interface Frame {
  readonly kind: number;
  readonly id: number;
  readonly flags: number;
  /** A borrowed view, valid until `release()`. May be created on first access. */
  readonly payload: Uint8Array<ArrayBuffer>;
  /** True where `payload` has an ArrayBuffer of its own that nobody reuses: it may outlive `release()`. */
  readonly owned: boolean;
  /** Gives the frame's bytes back to the sender's window. Idempotent. */
  release(): void;
}

/**
 * One connection. A channel holds back what it receives until `onFrames` is set.
 *
 * `trySend` copies: the payload may be reused as soon as it returns. Callbacks are never called from inside `trySend`.
 */
export interface Channel {
  readonly framing: 'spanwire' | 'plain';
  readonly peer: PeerInfo | undefined;
  /** What the peer said of itself; undefined on plain channels. */
  readonly hello: PeerHello | undefined;
  /** The largest frame (header not counted) that can ever pass at once. */
  readonly capacityBytes: number;
  /** False: no room now, `onRoom` will be called. Control frames are never refused on an open channel. False when closed, too. */
  trySend(lane: Lane, kind: number, id: number, flags: number, payload: Uint8Array): boolean;
  /**
   * Zero-copy transports: a writable span for one data frame of at most `capacityBytes`, or undefined when there is no room now (`onRoom` will be
   * called) or the channel is closed. Control frames pass while it is open; other data frames are refused until it is over. Throws a
   * TypeError while another claim is open.
   */
  claim?(kind: number, id: number, payloadBytes: number, flags?: number): Claim | undefined;
  /** Room again after a `trySend` returned false. */
  onRoom: (() => void) | undefined;
  /** A bounded batch, in order. The array is only valid during the call. The channel applies the connection's window itself. */
  onFrames: ((frames: readonly Frame[]) => void) | undefined;
  /** Called once, after the last `onFrames`, whoever closed. */
  onClosed: ((reason: DisconnectReason, error?: Error) => void) | undefined;
  /** True while a part of a frame has arrived and the rest has not. */
  readonly midFrame: boolean;
  /** Bytes that have come, where the channel counts them: how a slow frame is told from a stalled one. May wrap. */
  readonly receivedBytes?: number | undefined;
  /**
   * Set by the server where the transport declares it: answers a whole request that came alone straight away, without books, by a handler that
   * returns at once. False, and nothing has happened: it goes the usual way. The request's bytes are given back after it.
   */
  serveAlone?: ServeAlone | undefined;
  /**
   * Set by the server where the transport declares it: takes a whole request before which nothing waits to be delivered, without a batch. False, and
   * nothing has happened: it goes the usual way.
   */
  takeRequest?: TakeRequest | undefined;
  /**
   * Set by the client where the transport declares it: takes a whole answer before which nothing waits to be delivered. False, and nothing has
   * happened: it goes the usual way. The answer's bytes are given back after it.
   */
  takeAnswer?: TakeAnswer | undefined;
  /** Takes what is there without the event loop, where the transport can. */
  poll?(): void;
  /** Flushes what was accepted, then closes. With a reason other than 'closed' and 'shutdown' it does not flush. */
  close(reason?: DisconnectReason): Promise<void>;
  ref(): void;
  unref(): void;
}

export type ServeAlone = (
  id: number,
  request: Uint8Array<ArrayBuffer>,
  handler: (clientId: number, request: Uint8Array<ArrayBuffer>) => Uint8Array | undefined,
) => boolean;

export type TakeRequest = (request: Frame) => boolean;

export type TakeAnswer = (id: number, answer: Uint8Array<ArrayBuffer>) => boolean;

/** Accepts channels on one address. */
export interface Listener {
  /** Rejects with ERR_IPC_ADDRESS_IN_USE, ERR_IPC_SYSTEM, ..., and may then be called again. */
  listen(options: { takeover: boolean }): Promise<void>;
  /**
   * Asked once per connection, before its hello is answered (or, for a plain peer, before its first frame); an error refuses the
   * connection with that error's code.
   */
  admit: (() => IpcError | undefined) | undefined;
  onChannel: ((channel: Channel) => void) | undefined;
  /** Another server takes this address over: drain and leave. The listener has stopped accepting by then. */
  onTakeover: (() => void) | undefined;
  /** The listener itself broke and accepts no more. */
  onError: ((error: Error) => void) | undefined;
  /** What the server's timeouts run on. Default: the event loop. A transport that also serves threads that block has its own. */
  readonly timers?: Timers | undefined;
  /** Takes what is there without the event loop, where the transport can. */
  poll?(): void;
  /** Stops accepting and frees the address. Channels live on. */
  close(): Promise<void>;
  ref(): void;
  unref(): void;
}

/** Opens one channel to a server; rejects with an {@link IpcError}. `signal` gives up. */
export type Connect = (signal: AbortSignal) => Promise<Channel>;
