/** zeromq.js 6 over its `ipc:` transport: a dealer and a router, which allow many requests under way. */
import { join } from 'node:path';
import { Deque } from '@spanwire/ipc-core';
import { forkPeerServer } from './fork-server.ts';
import { counter, NOTHING, type Peer, type PeerClient, type PeerOptions } from './peer.ts';

export const zeromq: Peer = {
  async missing() {
    try {
      await import('zeromq');
      return undefined;
    } catch (error) {
      // The message may name a path of this machine.
      const code = error instanceof Error && 'code' in error ? String(error.code) : 'it does not load';
      return code === 'ERR_MODULE_NOT_FOUND' ? 'zeromq is not installed' : `zeromq cannot be loaded: ${code}`;
    }
  },

  async open(options) {
    const { Dealer } = await import('zeromq');
    const server = await forkPeerServer('zeromq', options);
    // Its own bound of 1,000 messages would be the limit for bursts; without one, nothing is ever dropped.
    const socket = new Dealer({ sendHighWaterMark: 0, receiveHighWaterMark: 0, linger: 0 });
    socket.connect(addressOf(options));

    // A socket takes one `send` at a time.
    const waiting = new Deque<Uint8Array>();
    let sending = false;
    const flush = async (): Promise<void> => {
      sending = true;
      for (let message = waiting.shift(); message !== undefined; message = waiting.shift()) await socket.send(message);
      sending = false;
    };

    const client: PeerClient = {
      serverPid: server.pid ?? null,
      onAnswer: () => undefined,
      post(message) {
        waiting.push(message);
        if (!sending) void flush();
      },
    };
    const receive = async (): Promise<void> => {
      for await (const [answer = NOTHING] of socket) client.onAnswer(answer, 1);
    };
    void receive();
    return client;
  },

  async serve(options) {
    const { Router } = await import('zeromq');
    const socket = new Router({ sendHighWaterMark: 0, receiveHighWaterMark: 0, linger: 0 });
    await socket.bind(addressOf(options));
    const answer = async (): Promise<void> => {
      let counted = false;
      const count = counter(options.countEvery, () => (counted = true));
      for await (const [client = NOTHING, message = NOTHING] of socket) {
        if (options.countEvery === 0) {
          await socket.send([client, message]);
          continue;
        }
        count();
        if (counted) await socket.send([client, NOTHING]);
        counted = false;
      }
    };
    void answer();
  },
};

function addressOf({ place }: PeerOptions): string {
  return `ipc://${join(place, 'zeromq.sock')}`;
}
