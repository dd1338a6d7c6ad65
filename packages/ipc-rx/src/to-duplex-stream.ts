import { WritableStream, type ReadableStream } from 'node:stream/web';
import type { CallOptions, IpcClient } from '@spanwire/ipc-core';
import { HandOver } from './hand-over.ts';
import { toReadableStream } from './to-readable-stream.ts';

/** A stream each way, in the form that `pipeThrough` takes. */
export interface DuplexStreams {
  readonly readable: ReadableStream<Uint8Array>;
  readonly writable: WritableStream<Uint8Array>;
}

/**
 * A duplex request as a pair of Web streams: what is written goes up, what comes down is read, each at the pace of its reader.
 *
 *     writable   --a---b---|         to the handler's `request.input$`
 *     readable   ----A---B---|       what the handler answers
 *
 * The request is sent with the first read, so read, or `pipeThrough`, before awaiting a write. Memory and backpressure: a write is done when the
 * stream up has credit for its chunk; nothing is read ahead. Error: that of the call errors both; aborting the writable errors the handler's
 * input; cancelling the readable cancels the call. When the handler leaves its input, writes fail with ERR_IPC_CANCELLED.
 *
 * @example
 * await source.pipeThrough(toDuplexStream(client, utf8.encode('gzip'))).pipeTo(destination);
 */
export function toDuplexStream(client: IpcClient, data: Uint8Array, options?: CallOptions): DuplexStreams {
  const input = new HandOver<Uint8Array>();
  return {
    readable: toReadableStream(client.duplex$(data, input.output$, options)),
    writable: new WritableStream<Uint8Array>({
      write: (chunk) => input.write(chunk),
      close: () => input.close(),
      abort: (reason) => input.fail(reason),
    }),
  };
}
