/** Channels on sockets that are connected already, such as an inherited descriptor: no address, one peer. */
import type { Socket } from 'node:net';
import {
  decodeHello,
  encodeHello,
  errorOfRefusal,
  IpcError,
  PeerGoneError,
  ProtocolError,
  TimeoutError,
  type Channel,
  type ClientContext,
  type ServerContext,
} from '@spanwire/ipc-core';
import { HelloReader } from './hello-reader.ts';
import { expectWindow } from './peer-window.ts';
import { ServerHandshake } from './server-handshake.ts';
import { SpanwireChannel } from './spanwire-channel.ts';

/** What may wait for the kernel on the side that opens. */
const BACKLOG_BYTES: number = 1024 * 1024;

/**
 * Opens a channel as the client on `socket`, which is this function's from here on: it is destroyed when the handshake fails. Rejects with
 * ERR_IPC_TIMEOUT after `handshakeTimeoutMs`, with ERR_IPC_PEER_GONE when the socket ends instead, or with the reason of `signal`.
 */
export function openChannelOn(socket: Socket, context: ClientContext, signal?: AbortSignal): Promise<Channel> {
  const { hello, settings } = context;
  return new Promise<Channel>((resolve, reject) => {
    const reader = new HelloReader();
    const timer = setTimeout(
      () =>
        fail(
          new TimeoutError(
            `The peer did not say hello within ${settings.handshakeTimeoutMs} ms`,
            settings.handshakeTimeoutMs,
          ),
        ),
      settings.handshakeTimeoutMs,
    );
    const leave = (): void => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', onAbort);
      socket.off('data', onData).off('end', onGone).off('close', onGone);
    };
    const fail = (error: unknown): void => {
      leave();
      socket.destroy();
      reject(error);
    };
    const onAbort = (): void => fail(signal?.reason);
    const onGone = (): void => fail(new PeerGoneError('The peer ended the connection instead of saying hello'));
    const onData = (chunk: Buffer<ArrayBuffer>): void => {
      try {
        const read = reader.push(chunk);
        if (read === undefined) return;
        const answer = decodeHello(read.hello);
        if (answer.refusal !== undefined) throw errorOfRefusal(answer.refusal);
        expectWindow(answer);
        leave();
        socket.pause();
        resolve(
          new SpanwireChannel(socket, answer, {
            windowBytes: hello.windowBytes,
            backlogBytes: BACKLOG_BYTES,
            graceMs: settings.graceMs,
            rest: read.rest,
          }),
        );
      } catch (error) {
        fail(error);
      }
    };
    prepare(socket);
    if (signal?.aborted === true) {
      onAbort();
      return;
    }
    signal?.addEventListener('abort', onAbort, { once: true });
    socket.on('data', onData).on('end', onGone).on('close', onGone);
    socket.write(encodeHello(hello));
  });
}

/**
 * Opens a channel as the server on `socket`, which is this function's from here on. The peer speaks first, so this waits for it without limit.
 * Rejects with ERR_IPC_PEER_GONE when the socket ends instead, and with ERR_IPC_PROTOCOL when the peer speaks the plain framing.
 */
export function acceptChannelOn(socket: Socket, context: ServerContext): Promise<Channel> {
  return new Promise<Channel>((resolve, reject) => {
    prepare(socket);
    const handshake: ServerHandshake = new ServerHandshake(socket, {
      context,
      admit: () => undefined,
      admitTakeover: () => new IpcError('ERR_IPC_UNSUPPORTED', 'There is no address here to take over'),
      ready: (channel) => {
        if (channel.framing === 'spanwire') {
          resolve(channel);
          return;
        }
        void channel.close('protocol');
        reject(new ProtocolError('Expected a peer that says hello, got one that speaks the plain framing'));
      },
      takenOver: () => handshake.abort(),
      // Called before `ready`, too; then this rejection comes after the resolution and changes nothing.
      done: () =>
        queueMicrotask(() => reject(new PeerGoneError('The peer ended the connection instead of saying hello'))),
    });
  });
}

/** As sockets from `node:net` with the options of this package are. */
function prepare(socket: Socket): void {
  // What was sent to a peer that has said its last word still has to arrive.
  socket.allowHalfOpen = true;
  socket.on('error', ignore);
}

/** 'close' follows, and that is listened to. */
function ignore(): void {}
