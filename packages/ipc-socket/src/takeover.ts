/**
 * Taking over an address from a running server, seen from the newcomer.
 *
 * ```text
 * newcomer                          running server
 *   hello with TAKEOVER     ->
 *                           <-      hello (or a refusal)
 *   rename over the name
 *   confirmation            ->
 *                                   accepts its backlog, stops accepting
 *                           <-      end of the stream
 * ```
 *
 * The confirmation is a goaway frame with id 0 and no payload: 8 bytes. A newcomer that dies before sending it changes nothing.
 */
import { encodeHello, KIND_GOAWAY, packKindAndId, packLength, type Hello } from '@spanwire/ipc-core';
import type { SocketAddress } from './address.ts';
import { ConnectAttempt } from './connect-attempt.ts';
import { readU32, writeU32 } from './little-endian.ts';

export const CONFIRMATION: Uint8Array = new Uint8Array(8);
writeU32(CONFIRMATION, 0, packLength(0, 0));
writeU32(CONFIRMATION, 4, packKindAndId(KIND_GOAWAY, 0));

export function isConfirmation(bytes: Uint8Array): boolean {
  return (
    bytes.byteLength === CONFIRMATION.byteLength &&
    readU32(bytes, 0) === readU32(CONFIRMATION, 0) &&
    readU32(bytes, 4) === readU32(CONFIRMATION, 4)
  );
}

export interface Takeover {
  /** After the rename: resolves when the running server has stopped accepting, or is gone. */
  confirm(): Promise<void>;
  /** Leaves the running server as it is. */
  abandon(): void;
}

/** Asks the server on `address` to leave; rejects as a connection attempt does. */
export async function requestTakeover(address: SocketAddress, hello: Hello, timeoutMs: number): Promise<Takeover> {
  const attempt = new ConnectAttempt(address, timeoutMs, undefined);
  try {
    const socket = await attempt.connect();
    socket.write(encodeHello({ ...hello, takeover: true }));
    await attempt.readHello(socket);
    attempt.finish();
    return {
      confirm: () =>
        new Promise((resolve) => {
          // The name is ours already: whatever becomes of the other server, this one goes on.
          const timer = setTimeout(() => socket.destroy(), timeoutMs);
          socket.once('close', () => {
            clearTimeout(timer);
            resolve();
          });
          socket.once('end', () => socket.destroy());
          socket.resume();
          socket.end(CONFIRMATION);
        }),
      abandon: () => socket.destroy(),
    };
  } catch (error) {
    attempt.abandon();
    throw error;
  }
}
