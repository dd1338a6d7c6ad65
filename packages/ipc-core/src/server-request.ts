/** One request on its way through a server. */
import type { Frame } from './channel.ts';
import type { Bytes, IpcRequest, ItemStream, ResponseClaim, ShutdownOptions } from './contract.ts';
import { IpcError, SpanReleasedError } from './errors.ts';
import type { Extension } from './extension.ts';
import { expectBytes } from './options.ts';
import type { Outcome, RequestOrigin } from './request-origin.ts';
import { claimResponse } from './response-claim.ts';
import type { ServerClient } from './server-client.ts';
import type { StreamReceiver } from './stream-receiver.ts';
import type { StreamSender } from './stream-sender.ts';
import type { Timer } from './timers.ts';

/** What has become of a request, as bits. */
const RELEASED = 1;
const ANSWERED = 2;
const BOOKED = 4;
const DONE = 8;
const HELD = 16;

type OnDone = (request: IpcRequest) => void;

/**
 * `clientId` and `requestId` are the only own fields: a spread copies them and nothing else. The state is private; the members
 * that are not in {@link IpcRequest} are for {@link ServerClient} alone.
 */
export class ServerRequest implements IpcRequest, RequestOrigin {
  readonly clientId: number;
  readonly requestId: number;
  readonly #client: ServerClient;
  readonly #message: Frame;
  #state = 0;
  #rest: Rest | undefined;
  #onDone: OnDone | OnDone[] | undefined;

  constructor(client: ServerClient, requestId: number, message: Frame) {
    this.clientId = client.clientId;
    this.requestId = requestId;
    this.#client = client;
    this.#message = message;
  }

  get span(): Bytes {
    if ((this.#state & RELEASED) !== 0) throw new SpanReleasedError();
    return this.#message.payload;
  }

  release(): void {
    if ((this.#state & (RELEASED | HELD)) !== 0) return;
    this.#state |= RELEASED;
    this.#message.release();
    this.#client.onReleased(this, this.#message);
  }

  respond(data: Uint8Array): boolean {
    expectBytes('data', data);
    return this.#client.server.answer({ clientId: this.clientId, requestId: this.requestId, data });
  }

  claim(payloadBytes: number): ResponseClaim | undefined {
    return claimResponse(this, this.#client, payloadBytes);
  }

  get signal(): AbortSignal {
    const rest = this.rest;
    if (rest.controller === undefined) {
      rest.controller = new AbortController();
      if (rest.aborted !== undefined) rest.controller.abort(rest.aborted);
      else this.#armDeadline(rest);
    }
    return rest.controller.signal;
  }

  get metadata(): ReadonlyMap<string, string> | undefined {
    return this.#rest?.extension?.metadata;
  }

  get deadlineMs(): number | undefined {
    return this.#rest?.extension?.deadlineMs;
  }

  get input$(): ItemStream | undefined {
    return this.#rest?.input?.items$;
  }

  // ---- as a RequestOrigin ----

  get origin(): RequestOrigin {
    return this;
  }

  get clientSignal(): AbortSignal {
    return this.#client.leftSignal;
  }

  get ended(): boolean {
    return this.answered || this.#rest?.aborted !== undefined;
  }

  answer(response: Outcome): boolean {
    return this.#client.server.answer({ ...response, clientId: this.clientId, requestId: this.requestId });
  }

  fail(error: IpcError): boolean {
    return this.#client.fail(this, error);
  }

  whenDone(onDone: OnDone): void {
    const others = this.#onDone;
    if ((this.#state & DONE) !== 0) onDone(this);
    else if (others === undefined) this.#onDone = onDone;
    else if (typeof others === 'function') this.#onDone = [others, onDone];
    else others.push(onDone);
  }

  get server(): { requestShutdown(options?: ShutdownOptions): void } {
    return this.#client.server;
  }

  // ---- for ServerClient ----

  /** The span is on its way out as the answer: until {@link letGo}, `release()` must not give it back. */
  hold(): void {
    this.#state |= HELD;
  }

  letGo(): void {
    this.#state &= ~HELD;
    this.release();
  }

  /** The pipeline is done with the request. What is told may deliver other requests, so the books must be in order. */
  done(): void {
    if ((this.#state & DONE) !== 0) return;
    this.#state |= DONE;
    if (this.#onDone !== undefined) this.#tell(this.#onDone);
  }

  #tell(onDone: OnDone | OnDone[]): void {
    this.#onDone = undefined;
    if (typeof onDone === 'function') onDone(this);
    else for (const each of onDone) each(this);
  }

  /** It was delivered, and that is all. */
  get untouched(): boolean {
    return this.#state === 0 && this.#rest === undefined;
  }

  /** Answered and released in one step; {@link untouched} before. */
  finish(): void {
    this.#state = ANSWERED | RELEASED;
    this.#message.release();
  }

  get client(): ServerClient {
    return this.#client;
  }

  get kind(): number {
    return this.#message.kind;
  }

  get wireId(): number {
    return this.#message.id;
  }

  get message(): Frame {
    return this.#message;
  }

  get answered(): boolean {
    return (this.#state & ANSWERED) !== 0;
  }

  /** The terminal frame is decided. */
  markAnswered(): void {
    this.#state |= ANSWERED;
  }

  get released(): boolean {
    return (this.#state & RELEASED) !== 0;
  }

  /** Answered and released: nothing is left to do. */
  get over(): boolean {
    return (this.#state & (ANSWERED | RELEASED)) === (ANSWERED | RELEASED);
  }

  /** In the tables. Most requests are answered while they are delivered, and never get there. */
  get booked(): boolean {
    return (this.#state & BOOKED) !== 0;
  }

  markBooked(): void {
    this.#state |= BOOKED;
  }

  /** What few requests need, made when it is needed. */
  get rest(): Rest {
    return (this.#rest ??= new Rest());
  }

  /** As {@link rest}, when it was made. */
  get restIfAny(): Rest | undefined {
    return this.#rest;
  }

  /** Aborts the signal, now or when it is asked for. */
  abort(reason: IpcError): void {
    const rest = this.rest;
    if (rest.aborted !== undefined) return;
    rest.aborted = reason;
    rest.deadlineTimer?.cancel();
    rest.controller?.abort(reason);
  }

  /** No signal fires any more. */
  settle(): void {
    this.#rest?.deadlineTimer?.cancel();
  }

  #armDeadline(rest: Rest): void {
    const deadlineMs = rest.extension?.deadlineMs;
    if (deadlineMs === undefined || this.answered) return;
    const elapsedMs = performance.now() - rest.arrivedMs;
    rest.deadlineTimer = this.#client.server.timers.after(
      Math.min(Math.max(0, deadlineMs - elapsedMs), 2 ** 31 - 1),
      () => this.abort(new IpcError('ERR_IPC_TIMEOUT', `The request's deadline of ${deadlineMs} ms passed`)),
      { keepsAlive: false },
    );
  }
}

class Rest {
  extension: Extension | undefined;
  arrivedMs = 0;
  controller: AbortController | undefined;
  aborted: IpcError | undefined;
  deadlineTimer: Timer | undefined;
  input: StreamReceiver | undefined;
  sender: StreamSender | undefined;
}
