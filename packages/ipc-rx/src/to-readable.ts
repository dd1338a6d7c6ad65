import { Readable, type ReadableOptions } from 'node:stream';
import type { Observable } from 'rxjs';
import { iteratorOf, leave, MAX_AHEAD } from './pullable.ts';

/**
 * A stream of items as a Node stream, whose reader sets the pace.
 *
 *     items      --a-b-----c|
 *     toReadable(items)
 *     readable   a, b, c, end        asked for more while its buffer is below highWaterMark
 *
 * Memory and backpressure: `client.request$`, `client.duplex$`, `request.input$` and other AsyncIterables are asked for an item when the stream wants
 * one, so a slow reader slows the other process down: at most `highWaterMark` (default that of Node) and `streamWindowBytes` wait. A plain
 * Observable (also one of these after `pipe`) cannot be slowed down: with more than 1,024 items waiting, the stream fails with
 * ERR_IPC_OVERLOADED. Items are bytes; their borders are not kept. Empty items are skipped.
 *
 * Starts with the first read. Error: that of the source destroys the stream with it. Destroying the stream cancels the source, also in the
 * other process.
 *
 * @example
 * await pipeline(toReadable(client.request$(path)), createWriteStream(copy));
 */
export function toReadable(
  source: AsyncIterable<Uint8Array> | Observable<Uint8Array>,
  options?: ReadableOptions,
): Readable {
  return new ItemReadable(iteratorOf(source, MAX_AHEAD), options);
}

class ItemReadable extends Readable {
  readonly #items: AsyncIterator<Uint8Array>;

  constructor(items: AsyncIterator<Uint8Array>, options: ReadableOptions | undefined) {
    super({ ...options, objectMode: false });
    this.#items = items;
  }

  override _read(): void {
    this.#readNext().catch((error: unknown) => this.destroy(error as Error));
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    leave(this.#items);
    callback(error);
  }

  async #readNext(): Promise<void> {
    for (;;) {
      const result = await this.#items.next();
      if (this.destroyed) return;
      if (result.done === true) {
        this.push(null);
        return;
      }
      // Node takes an empty chunk for none, and would not ask again.
      if (result.value.length > 0) {
        this.push(result.value);
        return;
      }
    }
  }
}
