/**
 * Taking an address over from a running server, seen from the newcomer. The rendezvous is a Unix socket, so node:net will do: there is
 * no memory to receive.
 */
import { createConnection, type Socket } from 'node:net';
import {
  decodeHello,
  encodeHello,
  errorOfRefusal,
  IpcError,
  KIND_GOAWAY,
  packKindAndId,
  PeerGoneError,
  TimeoutError,
  type Hello,
} from '@spanwire/ipc-core';
import { HelloBuffer } from './hello-buffer.ts';

/** What the newcomer says after the rename: a goaway frame. */
export const CONFIRMATION: Uint8Array = new Uint8Array(8);
new DataView(CONFIRMATION.buffer).setUint32(4, packKindAndId(KIND_GOAWAY, 0), true);

export interface Takeover {
  /** After the rename. Resolves when the running server accepts no more. */
  confirm(): Promise<void>;
  abandon(): void;
}

/** Asks the server at `path` to leave; undefined when nobody is there. Rejects with its refusal. */
export async function requestTakeover(path: string, hello: Hello, timeoutMs: number): Promise<Takeover | undefined> {
  const socket = createConnection(path);
  try {
    if (!(await connected(socket))) return undefined;
    socket.write(encodeHello({ ...hello, takeover: true }));
    await answered(socket, timeoutMs);
  } catch (error) {
    socket.destroy();
    throw error;
  }
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
        socket.write(CONFIRMATION);
      }),
    abandon: () => socket.destroy(),
  };
}

function connected(socket: Socket): Promise<boolean> {
  return new Promise((resolve, reject) => {
    socket.once('connect', () => resolve(true));
    socket.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT' || error.code === 'ECONNREFUSED') resolve(false);
      else {
        reject(
          new IpcError('ERR_IPC_UNAUTHORIZED', `Expected to reach the running server, got ${error.code}`, {
            cause: error,
          }),
        );
      }
    });
  });
}

function answered(socket: Socket, timeoutMs: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const buffer = new HelloBuffer();
    const timer = setTimeout(
      () =>
        reject(
          new TimeoutError(`Expected the running server to answer within ${timeoutMs} ms, got nothing`, timeoutMs),
        ),
      timeoutMs,
    );
    const settle = (error: unknown): void => {
      clearTimeout(timer);
      socket.off('data', onData);
      if (error === undefined) resolve();
      else reject(error);
    };
    const onData = (chunk: Buffer): void => {
      try {
        buffer.room.set(chunk.subarray(0, buffer.room.length));
        const bytes = buffer.push(Math.min(chunk.length, buffer.room.length));
        if (bytes === undefined) return;
        const { refusal } = decodeHello(bytes);
        settle(refusal === undefined ? undefined : errorOfRefusal(refusal));
      } catch (error) {
        settle(error);
      }
    };
    socket.on('data', onData);
    socket.once('close', () => settle(new PeerGoneError('The running server left before it answered')));
  });
}
