/**
 * With SPANWIRE_DEBUG=spans, every span that is handed out is a private copy that is detached on release, so that late use shows at once, and
 * what is garbage-collected without release is reported with the stack that received it. Without it, nothing here runs.
 */
import type { Bytes, IpcReply, IpcRequest, ItemStream, ResponseClaim } from './contract.ts';
import { KIND_REQUEST } from './frame.ts';
import type { RequestOrigin } from './request-origin.ts';
import { ServerRequest } from './server-request.ts';

/** Whether the environment variable SPANWIRE_DEBUG had `spans` in its list when this process started to use Spanwire. */
export const WATCH_SPANS: boolean = (process.env['SPANWIRE_DEBUG'] ?? '').split(',').includes('spans');

/** The stack of whoever receives spans; undefined unless spans are watched. */
export function stackOfReceiver(): string | undefined {
  if (!WATCH_SPANS) return undefined;
  const { stackTraceLimit } = Error;
  // The frames of RxJS are many.
  Error.stackTraceLimit = 40;
  const holder: { stack?: string } = {};
  Error.captureStackTrace(holder, stackOfReceiver);
  Error.stackTraceLimit = stackTraceLimit;
  return holder.stack?.replace(/^.*\n/, '');
}

/** Bytes of one span, apart from where the transport keeps them. */
class PrivateCopy {
  #bytes: Bytes | undefined;

  of(span: Bytes): Bytes {
    return (this.#bytes ??= new Uint8Array(span));
  }

  /** Whoever still has the span sees an empty one. */
  detach(): void {
    const buffer = this.#bytes?.buffer;
    if (buffer !== undefined) structuredClone(buffer, { transfer: [buffer] });
  }
}

/** A request whose span is a private copy. The server keeps this one, and hands a {@link RequestHandle} out. */
class WatchedRequest extends ServerRequest {
  readonly #copy = new PrivateCopy();

  override get span(): Bytes {
    return this.#copy.of(super.span);
  }

  override release(): void {
    super.release();
    if (this.released) this.#copy.detach();
  }

  override finish(): void {
    super.finish();
    this.#copy.detach();
  }

  /** Nobody can give its bytes or its place back except by an answer that has its ids. */
  get leaks(): boolean {
    return this.kind === KIND_REQUEST ? !this.released : !this.answered && this.restIfAny?.sender === undefined;
  }
}

/** The class of requests: a constant of the process, so that the choice costs nothing. */
export const RequestClass: typeof ServerRequest = WATCH_SPANS ? WatchedRequest : ServerRequest;

interface Watched {
  readonly what: string;
  readonly receivedAt: string | undefined;
  takenAt: string | undefined;
  leaks(): boolean;
}

const registry = new FinalizationRegistry<Watched>((watched) => {
  if (!watched.leaks()) return;
  process.emitWarning(`${watched.what} was garbage-collected before its release()`, {
    type: 'SpanLeakWarning',
    code: 'SPANWIRE_SPAN_LEAK',
    detail: [
      `received by:\n${watched.receivedAt ?? '    (unknown)'}`,
      ...(watched.takenAt === undefined ? [] : [`span first read by:\n${watched.takenAt}`]),
    ].join('\n'),
  });
});

/** What the consumer of requests gets in place of `request`. */
export function handOut(request: ServerRequest, receivedAt: string | undefined): IpcRequest {
  return request instanceof WatchedRequest ? new RequestHandle(request, receivedAt) : request;
}

/** The server's tables know the request itself; only this one can become garbage while the request is open. */
class RequestHandle implements IpcRequest {
  readonly clientId: number;
  readonly requestId: number;
  readonly #request: WatchedRequest;
  readonly #watched: Watched;

  constructor(request: WatchedRequest, receivedAt: string | undefined) {
    this.clientId = request.clientId;
    this.requestId = request.requestId;
    this.#request = request;
    this.#watched = {
      what: `Request ${request.requestId} of client ${request.clientId}`,
      receivedAt,
      takenAt: undefined,
      leaks: () => request.leaks,
    };
    registry.register(this, this.#watched);
  }

  get span(): Bytes {
    this.#watched.takenAt ??= stackOfReceiver();
    return this.#request.span;
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

  get input$(): ItemStream | undefined {
    return this.#request.input$;
  }

  get origin(): RequestOrigin {
    return this.#request;
  }

  release(): void {
    this.#request.release();
  }

  respond(data: Uint8Array): boolean {
    return this.#request.respond(data);
  }

  claim(payloadBytes: number): ResponseClaim | undefined {
    return this.#request.claim(payloadBytes);
  }
}

/** What the caller of `exchange` gets in place of `reply`. */
export function handOutReply(reply: IpcReply, receivedAt: string | undefined): IpcReply {
  return WATCH_SPANS ? new ReplyHandle(reply, receivedAt) : reply;
}

class ReplyHandle implements IpcReply {
  readonly #reply: IpcReply;
  readonly #copy = new PrivateCopy();
  readonly #state = { released: false };

  constructor(reply: IpcReply, receivedAt: string | undefined) {
    this.#reply = reply;
    const state = this.#state;
    registry.register(this, {
      what: 'A reply of exchange()',
      receivedAt,
      takenAt: undefined,
      leaks: () => !state.released,
    });
  }

  get span(): Bytes {
    return this.#copy.of(this.#reply.span);
  }

  release(): void {
    this.#state.released = true;
    this.#reply.release();
    this.#copy.detach();
  }
}
