/** `child_process.fork` and its channel, in both of its serializations. */
import type { ChildProcess } from 'node:child_process';
import { counter, NOTHING, type Peer, type PeerClient, type PeerOptions } from './peer.ts';
import { forkPeerServer } from './fork-server.ts';

/** JSON has no bytes: what carries them is base64. */
export const json: Peer = {
  async open(options) {
    const child = await forkPeerServer('child-process-json', options);
    const client = new Client(child, (message) => ({
      data: Buffer.from(message.buffer, message.byteOffset, message.length).toString('base64'),
    }));
    child.on('message', ({ data }: { data?: string }) => {
      client.onAnswer(data === undefined ? NOTHING : Buffer.from(data, 'base64'), 1);
    });
    return client;
  },
  serve,
};

/** The structured clone algorithm, which has bytes. */
export const advanced: Peer = {
  async open(options) {
    const child = await forkPeerServer('child-process-advanced', options, { serialization: 'advanced' });
    const client = new Client(child, (message) => ({ data: message }));
    child.on('message', ({ data }: { data?: Uint8Array }) => client.onAnswer(data ?? NOTHING, 1));
    return client;
  },
  serve,
};

class Client implements PeerClient {
  readonly serverPid: number | null;
  onAnswer: PeerClient['onAnswer'] = () => undefined;
  readonly #child: ChildProcess;
  readonly #wrap: (message: Uint8Array) => object;

  constructor(child: ChildProcess, wrap: (message: Uint8Array) => object) {
    this.serverPid = child.pid ?? null;
    this.#child = child;
    this.#wrap = wrap;
  }

  post(message: Uint8Array): void {
    this.#child.send(this.#wrap(message));
  }
}

function serve({ countEvery }: PeerOptions): Promise<void> {
  const count = counter(countEvery, () => process.send?.({}));
  process.on('message', (message) => {
    if (countEvery === 0) process.send?.(message);
    else count();
  });
  return Promise.resolve();
}
