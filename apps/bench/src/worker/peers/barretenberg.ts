/**
 * Barretenberg's published server on its own shared memory, used by our client and by the published one. It does not echo: it hashes, in about a
 * microsecond. An answer with the right hash counts as the message back.
 */
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { createInterface } from 'node:readline';
import { Deque } from '@spanwire/ipc-core';
import { msgpack } from '@spanwire/ipc-rx';
import { createShmClient } from '@spanwire/ipc-shm-native';
import type { Peer, PeerClient } from './peer.ts';

/** The published asynchronous client, as far as it is needed here. */
interface PublishedClient {
  setResponseCallback(callback: (answer: Uint8Array) => void): void;
  call(request: Uint8Array): void;
  /** Keeps the process while answers are awaited. */
  acquire(): void;
}

/** A client of this layout: a promise for each request, as programs use either. */
type Connect = (name: string) => Promise<(request: Uint8Array) => Promise<Uint8Array>>;

const connectSpanwire: Connect = async (name) => {
  const client = createShmClient(name, { layout: 'barretenberg' });
  await client.connect();
  return (request) => client.request(request);
};

/** Its package makes the promises; here they wait in a queue that is not slower the longer it is. */
const connectPublished: Connect = async (name) => {
  const { addon } = await programs();
  const { MsgpackClientAsync } = createRequire(import.meta.url)(addon ?? '') as {
    MsgpackClientAsync: new (name: string) => PublishedClient;
  };
  const client = new MsgpackClientAsync(name);
  const waiting = new Deque<(answer: Uint8Array) => void>();
  client.setResponseCallback((answer) => waiting.shift()?.(answer));
  client.acquire();
  return (request) =>
    new Promise((resolve) => {
      waiting.push(resolve);
      client.call(request);
    });
};

export const barretenbergSpanwire: Peer = peerWith(connectSpanwire);
export const barretenbergPublished: Peer = peerWith(connectPublished);

function peerWith(connect: Connect): Peer {
  return {
    async missing() {
      try {
        const { server, addon } = await programs();
        if (process.platform === 'linux' && server !== null && addon !== null) return undefined;
        return `@aztec/bb.js ships nothing for shared memory on ${process.platform} ${process.arch}`;
      } catch {
        return '@aztec/bb.js is not installed';
      }
    },

    async open({ bytes }) {
      const name = `spanwire-bench-${process.pid}`;
      const serverPid = await startServer(name);
      const message = new Uint8Array(bytes);
      let request: Uint8Array = message;
      let hash: Buffer = Buffer.alloc(0);
      const prepare = (): void => {
        request = msgpack.encode([['Blake2s', { data: message }]]);
        hash = createHash('blake2s256').update(message).digest();
      };
      prepare();
      // An answer ends with its only field.
      const isRight = (answer: Uint8Array): boolean => hash.equals(answer.subarray(-hash.length));
      const send = await connect(name);
      // Nobody else needs the names, and the server may be killed before it removes them.
      for (const ring of ['request', 'response']) rmSync(`/dev/shm/${name}_${ring}`, { force: true });
      const onAnswer = (answer: Uint8Array): void => client.onAnswer(isRight(answer) ? message : answer, 1);
      const client: PeerClient = {
        serverPid,
        onAnswer: () => undefined,
        post(wanted) {
          // Always the same one in a run.
          if (wanted[0] !== message[0]) {
            message.set(wanted);
            prepare();
          }
          void send(request).then(onAnswer);
        },
      };
      return client;
    },
  };
}

async function programs(): Promise<{ server: string | null; addon: string | null }> {
  const { findBbBinary, findNapiBinary } = await import('@aztec/bb.js/platform');
  return { server: findBbBinary(), addon: findNapiBinary() };
}

/** Ends with this process: the system tells it. */
async function startServer(name: string): Promise<number | null> {
  const { server } = await programs();
  const child = spawn(server ?? '', ['msgpack', 'run', '--input', `${name}.shm`], {
    env: { ...process.env, HARDWARE_CONCURRENCY: '1' },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  for await (const line of createInterface({ input: child.stderr })) if (line === 'IPC server ready') break;
  child.stderr.resume();
  child.unref();
  return child.pid ?? null;
}
