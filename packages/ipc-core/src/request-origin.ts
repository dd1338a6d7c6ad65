/** What operators need to know of a request beyond its contract: its client, its server, and when its pipeline is done with it. */
import type { Observable } from 'rxjs';
import type { IpcRequest, ShutdownOptions } from './contract.ts';
import type { IpcError } from './errors.ts';

/** The server's side of one request. A request has it as `origin`; whoever wraps a request hands it on under that name. */
export interface RequestOrigin {
  /** Aborts when the client leaves. One per client, made on first use. */
  readonly clientSignal: AbortSignal;
  /** Answered, cancelled, past its deadline, or its client left: whoever has not started need not start. */
  readonly ended: boolean;
  /** Answers through the sink. False when it was answered already or its client left. */
  answer(response: Outcome): boolean;
  /**
   * Ends the request from this side: the client's call fails with this very error, streams stop, and `signal` aborts. Releases
   * nothing, since a handler may be at work. False when it had its answer, or its client left.
   */
  fail(error: IpcError): boolean;
  /**
   * Calls `onDone` once, when the pipeline is done with the request: it gave its answer (in time or too late), or the request has
   * ended and is released, or its client left. At once when that was before. It must not throw.
   */
  whenDone(onDone: (request: IpcRequest) => void): void;
  /** The server that the request came to. */
  readonly server: { requestShutdown(options?: ShutdownOptions): void };
}

/** An answer without its ids. */
export type Outcome =
  | { data?: Uint8Array | undefined; error?: undefined; items?: undefined }
  | { error: unknown; data?: undefined; items?: undefined }
  | { items: AsyncIterable<Uint8Array> | Observable<Uint8Array>; data?: undefined; error?: undefined };

/** The server's side of `request`, or undefined for an object that no server made. For authors of operators. */
export function originOf(request: object): RequestOrigin | undefined {
  return (request as { readonly origin?: RequestOrigin }).origin;
}
