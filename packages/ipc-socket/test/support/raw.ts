/** A peer that is only bytes on a socket. */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { encodeHello, helloByteLength, type Hello } from '@spanwire/ipc-core';
import { onTestFinished } from 'vitest';
import { concat } from './wire.ts';

export interface RawPeer {
  readonly socket: Socket;
  /** Exactly `byteLength` bytes; rejects when the stream ends first. */
  read(byteLength: number): Promise<Uint8Array>;
  /** The other side's hello. */
  readHello(): Promise<Uint8Array>;
  /** One whole frame: its header's words and its payload. */
  readFrame(): Promise<{ word: number; kind: number; id: number; payload: Uint8Array }>;
  /** One plain message. */
  readPlain(): Promise<Uint8Array>;
  /** Resolves when the other side has ended the stream or broken the connection, with what came before. */
  readToEnd(): Promise<Uint8Array>;
}

export const HELLO: Hello = {
  windowBytes: 1024 * 1024,
  streamWindowBytes: 256 * 1024,
  maxMessageBytes: 64 * 1024 * 1024,
  pushes: true,
  streams: true,
};

export async function connectRaw(where: string | { host: string; port: number }): Promise<RawPeer> {
  const socket =
    typeof where === 'string'
      ? connect({ path: where, allowHalfOpen: true })
      : connect({ ...where, allowHalfOpen: true });
  await once(socket, 'connect');
  return rawPeer(socket);
}

/** Connects and completes the hellos. */
export async function greet(path: string, hello: Hello = HELLO): Promise<RawPeer> {
  const peer = await connectRaw(path);
  peer.socket.write(encodeHello(hello));
  await peer.readHello();
  return peer;
}

export function rawPeer(socket: Socket): RawPeer {
  let bytes: Uint8Array<ArrayBuffer> = new Uint8Array(0);
  let ended = false;
  let wake = (): void => {};
  socket.on('error', () => {});
  socket.on('data', (chunk) => {
    bytes = concat([bytes, chunk]);
    wake();
  });
  const end = (): void => {
    ended = true;
    wake();
  };
  socket.on('end', end).on('close', end);
  onTestFinished(() => void socket.destroy());
  const more = (): Promise<void> => new Promise((resolve) => (wake = resolve));
  const read = async (byteLength: number): Promise<Uint8Array> => {
    while (bytes.byteLength < byteLength) {
      if (ended) throw new Error(`The stream ended after ${bytes.byteLength} of ${byteLength} bytes`);
      await more();
    }
    const taken = bytes.slice(0, byteLength);
    bytes = bytes.slice(byteLength);
    return taken;
  };
  const u32 = (from: Uint8Array, at: number): number => new DataView(from.buffer, from.byteOffset).getUint32(at, true);
  return {
    socket,
    read,
    async readHello() {
      const head = await read(16);
      const length = helloByteLength(head) ?? 16;
      return concat([head, await read(length - 16)]);
    },
    async readFrame() {
      const head = await read(8);
      const word = u32(head, 0);
      const tag = u32(head, 4);
      return { word, kind: tag >>> 28, id: tag & 0x0fff_ffff, payload: await read(word & 0x3fff_ffff) };
    },
    async readPlain() {
      return read(u32(await read(4), 0));
    },
    async readToEnd() {
      for (;;) {
        if (ended) return bytes;
        await more();
      }
    },
  };
}
