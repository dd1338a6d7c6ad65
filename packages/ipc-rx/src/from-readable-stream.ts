import type { ReadableStream } from 'node:stream/web';
import { pullable, type Pullable } from './pullable.ts';

/**
 * A Web stream as a source that can be subscribed to or iterated.
 *
 *     stream     (a b c)|      pulled, never ahead
 *     fromReadableStream(stream)
 *     result     --a-b-c|
 *
 * As an answer, as the input of `duplex$`, and in {@link sendEach} and {@link requestEach} it is iterated: the stream is read at the pace of the other
 * process. Subscribed to, it is read as fast as it gives.
 *
 * Memory: nothing but the stream's own queue. Error: that of the stream. Unsubscribing, or leaving the loop, cancels the stream, also while a
 * chunk is awaited. A stream has one reader: a second subscription fails with TypeError.
 *
 * @example
 * server.respond((_clientId, request) => fromReadableStream(openBlob(request).stream()));
 */
export function fromReadableStream<T = Uint8Array>(stream: ReadableStream<T>): Pullable<T> {
  return pullable<T>(() => {
    const reader = stream.getReader();
    return {
      next: async () => {
        const { done, value } = await reader.read();
        return done ? { done: true, value: undefined } : { done: false, value };
      },
      return: async () => {
        await reader.cancel();
        return { done: true, value: undefined };
      },
    };
  });
}
