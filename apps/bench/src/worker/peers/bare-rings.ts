/** The rings of shared memory with next to nothing above them: how much of a round trip is JavaScript itself. No rival, a reference. */
import { join } from 'node:path';
import { forkPeerServer } from './fork-server.ts';
import type { Peer, PeerClient, PeerOptions } from './peer.ts';

/** The program is beside what it uses, which is no other package's business; as the floor's is. */
const program = new URL('../../../../../packages/ipc-shm-native/bench/bare-rings.mjs', import.meta.url);

interface Program {
  readonly serve: (path: string) => void;
  readonly connect: (path: string) => Promise<Pick<PeerClient, 'post' | 'onAnswer'>>;
}

export const bareRings: Peer = {
  async open(options) {
    const server = await forkPeerServer('bare-rings', options);
    const { connect } = await load();
    return Object.assign(await connect(pathOf(options)), { serverPid: server.pid ?? null });
  },
  async serve(options) {
    const { serve } = await load();
    serve(pathOf(options));
  },
};

function load(): Promise<Program> {
  return import(program.href) as Promise<Program>;
}

function pathOf({ place }: PeerOptions): string {
  return join(place, 'bare.sock');
}
