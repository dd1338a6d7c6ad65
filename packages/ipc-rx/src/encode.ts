import type { IpcResponse } from '@spanwire/ipc-core';
import { map, type Observable, type OperatorFunction } from 'rxjs';
import type { Codec } from './codec.ts';
import { expectCodec } from './decode.ts';
import { isAsyncIterable, mapIterable } from './pullable.ts';

/** An answer with a value in place of bytes, or values in place of items. Nothing but ids: no answer. */
export type ValueResponse<T> = { readonly clientId: number; readonly requestId?: number | undefined } & (
  | { readonly value?: T | undefined; readonly error?: undefined; readonly values?: undefined }
  | { readonly error: unknown; readonly value?: undefined; readonly values?: undefined }
  | { readonly values: AsyncIterable<T> | Observable<T>; readonly value?: undefined; readonly error?: undefined }
);

/**
 * Encodes the `value` of each answer into its bytes, or each of its `values` into an item of a stream.
 *
 *     answers    --a----b----c--|      { clientId, requestId, value }
 *     encode(json)
 *     result     --A----B----C--|      { clientId, requestId, data }
 *
 * A value that the codec refuses answers that request with the codec's error, and nothing else is disturbed; a refused item errors its stream.
 * Answers with `error`, and those without anything, pass as they are.
 *
 * Memory: the bytes of one answer at a time. Backpressure: passes through; AsyncIterables are pulled as their client takes items. Error,
 * completion and unsubscribe pass through.
 *
 * Throws TypeError at once when `codec` has no two functions.
 *
 * @example
 * server.requests$
 *   .pipe(
 *     decode(utf8),
 *     map(({ clientId, requestId, value }) => ({ clientId, requestId, value: value.length })),
 *     encode(json),
 *   )
 *   .subscribe(server.responses);
 */
export function encode<T>(codec: Codec<T>): OperatorFunction<ValueResponse<T>, IpcResponse> {
  expectCodec(codec);
  return map((response) => {
    const { clientId, requestId, value, values, error } = response;
    if (error !== undefined) return { clientId, requestId, error };
    if (values !== undefined) return { clientId, requestId, items: encodeEach(codec, values) };
    if (value === undefined) return { clientId, requestId };
    try {
      return { clientId, requestId, data: codec.encode(value) };
    } catch (encodeError) {
      return { clientId, requestId, error: encodeError };
    }
  });
}

function encodeEach<T>(
  codec: Codec<T>,
  values: AsyncIterable<T> | Observable<T>,
): AsyncIterable<Uint8Array> | Observable<Uint8Array> {
  // Iterated where that is possible: then the client's pace reaches the source.
  if (isAsyncIterable<T>(values)) return mapIterable(values, (value) => codec.encode(value));
  return values.pipe(map((value) => codec.encode(value)));
}
