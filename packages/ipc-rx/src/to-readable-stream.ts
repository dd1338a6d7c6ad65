import { ReadableStream } from 'node:stream/web';
import type { Observable } from 'rxjs';
import { iteratorOf, MAX_AHEAD } from './pullable.ts';

/**
 * A stream of items as a Web stream, whose reader sets the pace.
 *
 *     items      --a-b-----c|
 *     toReadableStream(items)
 *     stream     a, b, c, end        one item per read; nothing is taken ahead
 *
 * Memory and backpressure: `client.request$`, `client.duplex$`, `request.input$` and other AsyncIterables are asked for one item per read, so a slow
 * reader slows the other process down: at most `streamWindowBytes` wait. A plain Observable (also one of these after `pipe`) cannot be slowed
 * down: what its reader has not taken waits, and with more than 1,024 items the stream fails with ERR_IPC_OVERLOADED.
 *
 * Starts with the first read. Error: that of the source errors the stream. Cancelling the stream cancels the source, also in the other process.
 *
 * @example
 * await toReadableStream(client.request$(path)).pipeThrough(new DecompressionStream('gzip')).pipeTo(destination);
 */
export function toReadableStream<T = Uint8Array>(source: AsyncIterable<T> | Observable<T>): ReadableStream<T> {
  const items = iteratorOf(source, MAX_AHEAD);
  return new ReadableStream<T>(
    {
      pull: async (controller) => {
        const result = await items.next();
        if (result.done === true) controller.close();
        else controller.enqueue(result.value);
      },
      cancel: async () => {
        await items.return?.();
      },
    },
    { highWaterMark: 0 },
  );
}
