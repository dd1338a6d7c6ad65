import { Writable, type WritableOptions } from 'node:stream';
import type { IpcClient } from '@spanwire/ipc-core';

/**
 * A Node stream that sends each chunk one-way, at the pace of the server.
 *
 *     chunks     a b c|
 *     accepted   --a--b----c|        a write is done when the server's window has taken it
 *
 * Memory: the stream's own buffer (`highWaterMark`, default that of Node). Backpressure: `write` returns false and `drain` comes as with any
 * stream; `pipeline` waits while the server's window is full. Error: a chunk that cannot be sent destroys the stream. Ending it leaves the
 * client open. Strings are sent in their encoding.
 *
 * @example
 * await pipeline(createReadStream(path), toWritable(client));
 */
export function toWritable(client: IpcClient, options?: WritableOptions): Writable {
  return new Writable({
    ...options,
    objectMode: false,
    write: (chunk: Uint8Array, _encoding, callback) => {
      client.send(chunk).then(
        () => callback(),
        (error: unknown) => callback(error as Error),
      );
    },
  });
}
