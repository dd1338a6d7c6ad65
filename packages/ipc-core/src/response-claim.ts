/** `claim` of a request: answers that are written where they leave from. */
import type { Bytes, Claim, ResponseClaim } from './contract.ts';
import { MessageTooLargeError, SpanReleasedError } from './errors.ts';
import { KIND_RESPONSE } from './frame.ts';
import { expectSize, SMALLER } from './options.ts';
import type { ServerClient } from './server-client.ts';
import type { ServerRequest } from './server-request.ts';

/** {@link IpcRequest.claim}. */
export function claimResponse(
  request: ServerRequest,
  client: ServerClient,
  payloadBytes: number,
): ResponseClaim | undefined {
  expectSize('payloadBytes', payloadBytes);
  const other = client.claim;
  if (other?.open === true) {
    if (!other.isOf(request)) return undefined;
    throw new TypeError(
      'Expected one open claim of a request at a time, got a second one: publish() or abort() the first',
    );
  }
  if (request.ended || client.gone || request.restIfAny?.sender !== undefined) return undefined;
  if (payloadBytes > client.maxMessageBytes) {
    throw new MessageTooLargeError(payloadBytes, client.maxMessageBytes, SMALLER);
  }
  const { channel, lane } = client;
  if (!lane.idle) return undefined;
  let ring: Claim | undefined;
  if (channel.framing === 'spanwire' && channel.claim !== undefined && payloadBytes <= lane.pieceBytes) {
    ring = channel.claim(KIND_RESPONSE, request.wireId, payloadBytes);
    if (ring === undefined) return undefined;
  }
  const claim = new AnswerClaim(request, ring, payloadBytes);
  client.claim = claim;
  return claim;
}

/**
 * The one claim of a client. In the ring it keeps back all other data frames to that client, so it must not outlive its request; but only
 * who writes into it can say when that is: publishes, aborts, or gives another answer. A cancel says nothing of the kind.
 */
export class AnswerClaim implements ResponseClaim {
  readonly #request: ServerRequest;
  #ring: Claim | undefined;
  #span: Bytes | undefined;
  /** Published or aborted by who has it. */
  #finished = false;
  #cancelled = false;

  constructor(request: ServerRequest, ring: Claim | undefined, payloadBytes: number) {
    this.#request = request;
    this.#ring = ring;
    this.#span = ring === undefined ? new Uint8Array(payloadBytes) : ring.span;
    // An answer of another kind, or the end of the connection.
    request.whenDone(() => {
      if (!this.#cancelled) this.#end();
    });
  }

  /** Somebody may still write into it. Memory of its own is in nobody's way once the request is over. */
  get open(): boolean {
    return this.#span !== undefined && (this.#ring !== undefined || !this.#request.ended);
  }

  /** It keeps data frames back. */
  get blocks(): boolean {
    return this.#ring !== undefined;
  }

  isOf(request: ServerRequest): boolean {
    return this.#request === request;
  }

  get span(): Bytes {
    if (this.#span === undefined) throw new SpanReleasedError();
    return this.#span;
  }

  publish(): boolean {
    if (this.#finished) throw new TypeError('Expected a claim that is open, got one that was published or aborted');
    this.#finished = true;
    try {
      return this.#request.respond(this.#span ?? NO_BYTES);
    } finally {
      this.#end();
    }
  }

  abort(): void {
    this.#finished = true;
    this.#end();
  }

  // ---- for ServerClient ----

  /** The request was ended from our side, while somebody may be writing. */
  onCancelled(request: ServerRequest): void {
    if (this.#request === request) this.#cancelled = true;
  }

  /** An answer to what was cancelled: its author writes no more. */
  onLateAnswer(requestId: number): void {
    if (this.#request.requestId === requestId) this.#end();
  }

  /** Sends an answer that is the span of this claim, and lies in the ring already. False when it is another one. */
  trySendInPlace(request: ServerRequest, data: Uint8Array): boolean {
    const ring = this.#ring;
    if (ring === undefined || this.#request !== request || this.#span !== data) return false;
    this.#ring = undefined;
    ring.publish();
    return true;
  }

  /** Whether `data` is memory that nobody else may reuse. */
  owns(data: Uint8Array): boolean {
    return this.#ring === undefined && this.#span === data;
  }

  #end(): void {
    const ring = this.#ring;
    this.#ring = undefined;
    this.#span = undefined;
    ring?.abort();
  }
}

const NO_BYTES: Uint8Array = new Uint8Array(0);
