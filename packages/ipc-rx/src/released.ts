import { WATCH_SPANS, type IpcRequest } from '@spanwire/ipc-core';
import { tap, type MonoTypeOperatorFunction } from 'rxjs';
import { expectFunction, integerIn } from './arguments.ts';
import { isReleased } from './never-started.ts';

/** A request that was held for too long. */
export interface HeldRequest {
  readonly clientId: number;
  readonly requestId: number;
  /** How long it has been held, in milliseconds. */
  readonly heldMs: number;
  /** The stack of who called `released()`. */
  readonly stack: string;
}

export interface ReleasedOptions {
  /** How long a request may be held. 1 to 2^31 - 1 ms; default 10,000. */
  readonly withinMs?: number | undefined;
  /** Told of each request that is held for longer. Default: a process warning with code SPANWIRE_SPAN_HELD. */
  readonly report?: ((held: HeldRequest) => void) | undefined;
}

/**
 * Reports requests that nobody has answered or released in time: a check for development, which does nothing unless SPANWIRE_DEBUG has `spans`.
 *
 *     requests            --a---b-----|
 *     released({ withinMs: 5 })
 *     result              --a---b-----|
 *     a is answered at 4, b never       report(b) at 11
 *
 * With SPANWIRE_DEBUG=spans, Spanwire itself hands out private copies that are detached on release (late use shows at once) and reports what
 * is garbage-collected unreleased. What is held for ever is never garbage; this operator finds it.
 *
 * Memory: off, none, and the source itself is returned. On, a timer per request, which does not keep the request. Backpressure, error,
 * completion and unsubscribe pass through; requests that passed are still watched.
 *
 * Throws TypeError or RangeError at once on bad options.
 *
 * @example
 * server.requests$.pipe(released(), handle(work)).subscribe(server.responses); // SPANWIRE_DEBUG=spans node server.js
 */
export function released<T extends IpcRequest>(options: ReleasedOptions = {}): MonoTypeOperatorFunction<T> {
  const withinMs = integerIn('withinMs', options.withinMs ?? 10_000, 1, 2 ** 31 - 1);
  const report = options.report ?? warn;
  expectFunction('report', report);
  if (!WATCH_SPANS) return (requests$) => requests$;
  const holder: { stack?: string } = {};
  Error.captureStackTrace(holder, released);
  const stack = holder.stack ?? '';
  return tap((request) => {
    // Weakly: whoever holds it too long must not be joined by the watch.
    const watched = new WeakRef(request);
    const { clientId, requestId } = request;
    const look = (): void => {
      const held = watched.deref();
      if (held !== undefined && !isReleased(held)) report({ clientId, requestId, heldMs: withinMs, stack });
    };
    setTimeout(look, withinMs).unref();
  });
}

function warn({ clientId, requestId, heldMs, stack }: HeldRequest): void {
  process.emitWarning(`Request ${requestId} of client ${clientId} is held for more than ${heldMs} ms`, {
    type: 'SpanLeakWarning',
    code: 'SPANWIRE_SPAN_HELD',
    detail: stack,
  });
}
