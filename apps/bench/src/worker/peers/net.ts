/** A Unix socket of `node:net` with no protocol on it: the server gives back bytes, and the client counts them. */
import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { forkPeerServer } from './fork-server.ts';
import { NOTHING, type Peer, type PeerClient, type PeerOptions } from './peer.ts';

/** One write for each message. */
export const net: Peer = { open: (options) => open(options), serve };

/** One write for all that is to be sent at once. */
export const netBatched: Peer = {
  async open(options) {
    const client = await open(options);
    return Object.assign(client, {
      postMany(message: Uint8Array, count: number) {
        const all = Buffer.alloc(message.length * count);
        for (let i = 0; i < count; i++) all.set(message, i * message.length);
        client.socket.write(all);
      },
    });
  },
  serve,
};

interface NetClient extends PeerClient {
  readonly socket: Socket;
}

async function open(options: PeerOptions): Promise<NetClient> {
  const server = await forkPeerServer('net', options);
  const socket = connect(pathOf(options));
  await once(socket, 'connect');
  const client: NetClient = {
    socket,
    serverPid: server.pid ?? null,
    onAnswer: () => undefined,
    post: (message) => socket.write(message),
  };
  const answerBytes = options.countEvery === 0 ? options.bytes : 1;
  let missing = answerBytes;
  socket.on('data', (chunk) => {
    missing -= chunk.length;
    if (missing > 0) return;
    const answers = 1 + Math.floor(-missing / answerBytes);
    missing += answers * answerBytes;
    client.onAnswer(options.countEvery === 0 ? chunk : NOTHING, answers);
  });
  return client;
}

function serve(options: PeerOptions): Promise<void> {
  const countedBytes = options.countEvery * options.bytes;
  const server = createServer((socket) => {
    // A client that leaves while an answer is on its way is no trouble.
    socket.on('error', () => undefined);
    if (countedBytes === 0) {
      socket.on('data', (chunk) => socket.write(chunk));
      return;
    }
    let missing = countedBytes;
    socket.on('data', (chunk) => {
      for (missing -= chunk.length; missing <= 0; missing += countedBytes) socket.write('.');
    });
  });
  return once(server.listen(pathOf(options)), 'listening').then(() => undefined);
}

function pathOf({ place }: PeerOptions): string {
  return join(place, 'net.sock');
}
