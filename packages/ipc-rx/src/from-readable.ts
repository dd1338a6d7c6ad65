import type { Readable } from 'node:stream';
import { pullable, type Pullable } from './pullable.ts';

/**
 * A Node stream as a source that can be subscribed to or iterated.
 *
 *     readable   (a b c)|      read, never ahead of its own highWaterMark
 *     fromReadable(readable)
 *     result     --a-b-c|
 *
 * As an answer, as the input of `duplex$`, and in {@link sendEach} and {@link requestEach} it is iterated: the stream is read at the pace of the other
 * process. Subscribed to, it is read as fast as it gives. (An answer may also be the Readable itself: it is an AsyncIterable.)
 *
 * Memory: the stream's own buffer. Error: that of the stream. Unsubscribing, or leaving the loop, destroys the stream at once, also while a
 * chunk is awaited. Chunks must be bytes: set no encoding.
 *
 * @example
 * fromReadable(createReadStream(path)).pipe(sendEach(client)).subscribe({ complete: () => console.log('sent') });
 */
export function fromReadable(readable: Readable): Pullable<Uint8Array> {
  return pullable<Uint8Array>(() => {
    const chunks = readable[Symbol.asyncIterator]() as AsyncIterator<Uint8Array>;
    return {
      next: () => chunks.next(),
      return: () => {
        // The iterator's own return would wait for the chunk that is awaited.
        readable.destroy();
        return Promise.resolve({ done: true, value: undefined });
      },
    };
  });
}
