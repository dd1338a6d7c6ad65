import type { IpcRequest } from '@spanwire/ipc-core';
import type { OperatorFunction } from 'rxjs';
import { show } from './arguments.ts';
import type { Codec } from './codec.ts';
import { RequestView } from './request-view.ts';
import { serverSideOf } from './server-side.ts';
import { through } from './through.ts';

/** A request with what its bytes mean. */
export interface DecodedRequest<T> extends IpcRequest {
  readonly value: T;
}

/** The bytes of a request are not what its codec expects. Its client sees the name, the message and the code. */
export class DecodeError extends Error {
  override readonly name: string = 'DecodeError';
  readonly code = 'ERR_DECODE';
}

/**
 * Decodes the bytes of each request into its `value`. Bytes that the codec refuses answer that request with a `DecodeError`.
 *
 *     requests   --a----x----b--|      x has bad bytes
 *     decode(json)
 *     result     --a---------b--|      with `value`; x is answered with an error
 *
 * Memory: the value, besides the span, which stays borrowed until the answer; put {@link copied} before it to give the span back early (no codec
 * here but `raw` keeps using the bytes). Backpressure: passes through.
 *
 * Error: bad bytes concern their request only; an error of the source goes on. Unsubscribe: the source is left.
 *
 * Throws TypeError at once when `codec` has no two functions.
 *
 * @example
 * server.requests$
 *   .pipe(
 *     decode(json),
 *     map((request) => ({ ...request, value: { youSent: request.value } })),
 *     encode(json),
 *   )
 *   .subscribe(server.responses);
 */
export function decode<T>(codec: Codec<T>): OperatorFunction<IpcRequest, DecodedRequest<T>> {
  expectCodec(codec);
  return (requests$) =>
    through(requests$, (out) => ({
      next: (request) => {
        let value: T;
        try {
          value = codec.decode(request.span);
        } catch (error) {
          serverSideOf(request).answer({ error: decodeError(error) });
          return;
        }
        out.next(new ValueRequest(request, value));
      },
    }));
}

/** Throws unless `codec` has its two functions. */
export function expectCodec(codec: unknown): void {
  const { encode, decode } = (codec ?? {}) as { encode?: unknown; decode?: unknown };
  if (typeof encode !== 'function' || typeof decode !== 'function') {
    throw new TypeError(`Expected \`codec\` to have the functions \`encode\` and \`decode\`, got ${show(codec)}`);
  }
}

class ValueRequest<T> extends RequestView implements DecodedRequest<T> {
  readonly value: T;

  constructor(request: IpcRequest, value: T) {
    super(request);
    this.value = value;
  }
}

function decodeError(cause: unknown): DecodeError {
  const why = cause instanceof Error ? cause.message : show(cause);
  return new DecodeError(`Expected bytes that the codec understands: ${why}`, { cause });
}
