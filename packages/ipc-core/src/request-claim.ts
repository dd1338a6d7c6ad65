/** `claim` of a client: requests that are written where they leave from. */
import { copyOf } from './bytes.ts';
import { Call, OwnedCall, type CallOwner, type CallSender } from './call.ts';
import { plainLacks, type Connection } from './connection.ts';
import type { Bytes, CallOptions, Claim, RequestClaim } from './contract.ts';
import type { IpcError } from './errors.ts';
import { MessageTooLargeError, ProtocolError, SpanReleasedError } from './errors.ts';
import { encodeExtension } from './extension.ts';
import { FLAG_EXTENSION } from './frame.ts';
import { expectSize, expectTimeout, SMALLER } from './options.ts';

/** What a claim needs of its client. */
export interface ClaimHost extends CallSender {
  /** Why calls are refused, once the client is closed or closing. */
  readonly over: IpcError | undefined;
  /** `maxPending` calls are pending: why one more is refused. */
  readonly overload: IpcError | undefined;
  /** One more call is pending, until `onSettled`. */
  count(): void;
}

/** A claim, as its client knows it. */
export interface OpenRequestClaim extends RequestClaim {
  /** Neither published nor aborted, and its memory is there. */
  readonly open: boolean;
}

/** {@link IpcClient.claim}, on the connection that takes new calls. */
export function claimRequest(
  host: ClaimHost,
  connection: Connection | undefined,
  payloadBytes: number,
  callOptions: CallOptions | undefined,
): OpenRequestClaim | undefined {
  expectSize('payloadBytes', payloadBytes);
  const options = checked(callOptions);
  if (connection === undefined || host.over !== undefined || host.overload !== undefined) return undefined;
  if (payloadBytes > connection.maxMessageBytes) {
    throw new MessageTooLargeError(payloadBytes, connection.maxMessageBytes, SMALLER);
  }
  if (connection.plain && options?.metadata !== undefined) throw plainLacks('metadata');
  if (!connection.lane.idle) return undefined;
  const extensionBytes = connection.plain ? 0 : extensionBytesOf(options);
  if (!connection.canClaim(extensionBytes + payloadBytes)) return new OwnedClaim(host, payloadBytes, options);
  return RingClaim.open(host, connection, extensionBytes, payloadBytes, options);
}

/** A copy, since the caller may change the original before it publishes. */
function checked(options: CallOptions | undefined): CallOptions | undefined {
  if (options === undefined) return undefined;
  expectTimeout('timeoutMs', options.timeoutMs);
  options.signal?.throwIfAborted();
  const { metadata } = options;
  return metadata === undefined ? { ...options } : { ...options, metadata: new Map(metadata) };
}

/** The deadline is written when the claim is published; here it only needs its place. */
function extensionBytesOf(options: CallOptions | undefined): number {
  if (options === undefined || (options.metadata === undefined && options.timeoutMs === undefined)) return 0;
  const deadlineMs = options.timeoutMs === undefined ? undefined : 0;
  return encodeExtension({ deadlineMs, metadata: options.metadata }).length;
}

function notOpen(): TypeError {
  return new TypeError('Expected a claim that is open, got one that was published or aborted');
}

/** For transports without a ring, and for messages that no single frame takes. */
class OwnedClaim implements OpenRequestClaim {
  readonly #host: ClaimHost;
  readonly #options: CallOptions | undefined;
  #span: Bytes | undefined;

  constructor(host: ClaimHost, payloadBytes: number, options: CallOptions | undefined) {
    this.#host = host;
    this.#options = options;
    this.#span = new Uint8Array(payloadBytes);
  }

  get open(): boolean {
    return this.#span !== undefined;
  }

  get span(): Bytes {
    if (this.#span === undefined) throw new SpanReleasedError();
    return this.#span;
  }

  publish(): Promise<Bytes> {
    const span = this.#span;
    this.#span = undefined;
    if (span === undefined) return Promise.reject(notOpen());
    return new Promise((resolve, reject) => {
      this.#host.submit(new OwnedCall(this.#host, span, resolve, reject), this.#options);
    });
  }

  abort(): void {
    this.#span = undefined;
  }
}

const NO_BYTES: Uint8Array = new Uint8Array(0);

/** In the ring. The call has its wire id from the start, and belongs to the client once it is published. */
class RingClaim implements OpenRequestClaim, CallOwner {
  readonly #host: ClaimHost;
  readonly #connection: Connection;
  readonly #call: Call;
  readonly #options: CallOptions | undefined;
  #claim: Claim | undefined;
  #extension: Uint8Array = NO_BYTES;
  #span: Bytes | undefined;
  #published = false;
  /** Why it failed before it was published. */
  #failure: unknown;
  #resolve: ((data: Bytes) => void) | undefined;
  #reject: ((error: unknown) => void) | undefined;

  /** Undefined: the ring has no room now. */
  static open(
    host: ClaimHost,
    connection: Connection,
    extensionBytes: number,
    payloadBytes: number,
    options: CallOptions | undefined,
  ): RingClaim | undefined {
    const claim = new RingClaim(host, connection, options);
    return claim.#reserve(extensionBytes, payloadBytes) ? claim : undefined;
  }

  private constructor(host: ClaimHost, connection: Connection, options: CallOptions | undefined) {
    this.#host = host;
    this.#connection = connection;
    this.#options = options;
    this.#call = new Call(
      this,
      NO_BYTES,
      (data) => {
        if (this.#resolve === undefined) {
          this.#failure = new ProtocolError('Expected an answer to what was sent, got one to what was not');
        } else this.#resolve(data);
      },
      (error) => {
        if (this.#reject === undefined) this.#failure = error;
        else this.#reject(error);
      },
    );
  }

  #reserve(extensionBytes: number, payloadBytes: number): boolean {
    const flags = extensionBytes === 0 ? 0 : FLAG_EXTENSION;
    const claim = this.#connection.claim(this.#call, extensionBytes + payloadBytes, flags);
    if (claim === undefined) return false;
    const { span } = claim;
    this.#claim = claim;
    if (extensionBytes === 0) this.#span = span;
    else {
      this.#extension = span.subarray(0, extensionBytes);
      this.#span = span.subarray(extensionBytes);
    }
    return true;
  }

  get open(): boolean {
    return this.#claim !== undefined && !this.#call.settled;
  }

  get span(): Bytes {
    if (this.#span === undefined || this.#call.settled) throw new SpanReleasedError();
    return this.#span;
  }

  publish(): Promise<Bytes> {
    const claim = this.#claim;
    const span = this.#span;
    if (claim === undefined || span === undefined) return Promise.reject(notOpen());
    return new Promise((resolve, reject) => {
      try {
        if (this.#call.settled) throw this.#failure;
        this.#options?.signal?.throwIfAborted();
        const refusal = this.#host.over ?? this.#host.overload;
        if (refusal !== undefined) throw refusal;
      } catch (error) {
        this.abort();
        reject(error);
        return;
      }
      // The server starts nothing new there: it goes where calls go that were not sent.
      if (this.#connection.draining) {
        const copy = copyOf(span);
        this.#host.submit(new OwnedCall(this.#host, copy, resolve, reject), this.#options);
        this.abort();
        return;
      }
      this.#resolve = resolve;
      this.#reject = reject;
      this.#send(claim);
    });
  }

  #send(claim: Claim): void {
    const call = this.#call;
    this.#claim = undefined;
    this.#span = undefined;
    this.#published = true;
    this.#host.count();
    if (this.#options !== undefined) {
      call.arm(this.#options);
      if (call.extension !== undefined) this.#extension.set(call.extension);
    }
    this.#extension = NO_BYTES;
    claim.publish();
    call.sent();
  }

  abort(): void {
    const claim = this.#claim;
    if (claim === undefined) return;
    this.#claim = undefined;
    this.#span = undefined;
    this.#extension = NO_BYTES;
    claim.abort();
    this.#connection.unclaim(this.#call);
  }

  onSettled(call: Call): void {
    if (this.#published) this.#host.onSettled(call);
  }
}

/** For the client that has `claim` open already. */
export function secondClaim(): TypeError {
  return new TypeError('Expected one open claim at a time, got a second one: publish() or abort() the first');
}
