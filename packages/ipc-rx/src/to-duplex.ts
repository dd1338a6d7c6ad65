import { Duplex, type DuplexOptions } from 'node:stream';
import type { CallOptions, IpcClient } from '@spanwire/ipc-core';
import { HandOver } from './hand-over.ts';
import { iteratorOf, leave, MAX_AHEAD } from './pullable.ts';

/**
 * A duplex request as a Node stream: what is written goes up, what comes down is read, each at the pace of its reader.
 *
 *     written    --a---b---|         to the handler's `request.input$`
 *     read       ----A---B---|       what the handler answers
 *
 * The request is sent at once. Memory and backpressure: a write is done when the stream up has credit for its chunk; reading asks for items while
 * the buffer is below `highWaterMark`. Ending the writable side ends the handler's input; the answer may go on. Error: that of the call destroys the
 * stream. Destroying it cancels the call. When the handler leaves its input, later writes fail with ERR_IPC_CANCELLED.
 *
 * @example
 * await pipeline(createReadStream(path), toDuplex(client, utf8.encode('gzip')), createWriteStream(`${path}.gz`));
 */
export function toDuplex(
  client: IpcClient,
  data: Uint8Array,
  options?: CallOptions,
  streamOptions?: DuplexOptions,
): Duplex {
  return new CallDuplex(client, data, options, streamOptions);
}

class CallDuplex extends Duplex {
  readonly #input = new HandOver<Uint8Array>();
  readonly #items: AsyncIterator<Uint8Array>;
  /** Asked for before anybody reads, so that the request is on its way when the first chunk is written. */
  #first: Promise<IteratorResult<Uint8Array>> | undefined;

  constructor(
    client: IpcClient,
    data: Uint8Array,
    options: CallOptions | undefined,
    streamOptions: DuplexOptions | undefined,
  ) {
    super({ ...streamOptions, objectMode: false });
    this.#items = iteratorOf(client.duplex$(data, this.#input.output$, options), MAX_AHEAD);
    this.#first = this.#items.next();
    this.#first.catch((error: unknown) => this.destroy(error as Error));
  }

  override _read(): void {
    this.#readNext().catch((error: unknown) => this.destroy(error as Error));
  }

  override _write(chunk: Uint8Array, _encoding: BufferEncoding, callback: (error?: Error | null) => void): void {
    this.#input.write(chunk).then(
      () => callback(),
      (error: unknown) => callback(error as Error),
    );
  }

  override _final(callback: (error?: Error | null) => void): void {
    this.#input.close();
    callback();
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    this.#input.fail(error ?? new Error('The stream was destroyed'));
    leave(this.#items);
    callback(error);
  }

  async #readNext(): Promise<void> {
    for (;;) {
      const first = this.#first;
      this.#first = undefined;
      const result = await (first ?? this.#items.next());
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
