import { WritableStream } from 'node:stream/web';
import type { IpcClient } from '@spanwire/ipc-core';

/**
 * A Web stream that sends each chunk one-way, at the pace of the server.
 *
 *     chunks     a b c|
 *     accepted   --a--b----c|        a write is done when the server's window has taken it
 *
 * Memory: the stream's own queue (one chunk by default). Backpressure: `writer.ready` and `pipeTo` wait while the server's window is full.
 * Error: a chunk that cannot be sent errors the stream. Closing it leaves the client open. Aborting drops what waits in the stream.
 *
 * @example
 * await new Blob([report]).stream().pipeTo(toWritableStream(client));
 */
export function toWritableStream(client: IpcClient): WritableStream<Uint8Array> {
  return new WritableStream<Uint8Array>({ write: (chunk) => client.send(chunk) });
}
