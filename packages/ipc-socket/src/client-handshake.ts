/** From an address to a channel. */
import { encodeHello, type Channel, type ClientContext } from '@spanwire/ipc-core';
import type { SocketAddress } from './address.ts';
import { ConnectAttempt } from './connect-attempt.ts';
import { expectWindow } from './peer-window.ts';
import { PlainChannel } from './plain-channel.ts';
import { SpanwireChannel } from './spanwire-channel.ts';

export type Framing = 'spanwire' | 'plain';

/** What may wait for the kernel on a client. The server's window bounds it as well, but that is the server's choice. */
const CLIENT_BACKLOG_BYTES: number = 1024 * 1024;

/** Connects within `handshakeTimeoutMs`, hello included. */
export async function openChannel(
  address: SocketAddress,
  framing: Framing,
  context: ClientContext,
  signal: AbortSignal,
): Promise<Channel> {
  const { settings, hello } = context;
  const attempt = new ConnectAttempt(address, settings.handshakeTimeoutMs, signal);
  try {
    const socket = await attempt.connect();
    const options = {
      windowBytes: hello.windowBytes,
      backlogBytes: CLIENT_BACKLOG_BYTES,
      graceMs: settings.graceMs,
    };
    if (framing === 'plain') {
      attempt.finish();
      return new PlainChannel(socket, {
        ...options,
        rest: undefined,
        side: 'client',
        maxMessageBytes: settings.maxMessageBytes,
        budget: undefined,
      });
    }
    socket.write(encodeHello(hello));
    const answer = await attempt.readHello(socket);
    expectWindow(answer.hello);
    attempt.finish();
    return new SpanwireChannel(socket, answer.hello, { ...options, rest: answer.rest });
  } catch (error) {
    attempt.abandon();
    throw error;
  }
}
