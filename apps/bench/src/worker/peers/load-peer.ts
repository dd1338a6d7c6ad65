import type { PeerName } from '../../links.ts';
import type { Peer } from './peer.ts';

/** Only the peer that is measured gets loaded: some start threads. */
const peers: Record<PeerName, () => Promise<Peer>> = {
  'child-process-json': async () => (await import('./child-process.ts')).json,
  'child-process-advanced': async () => (await import('./child-process.ts')).advanced,
  net: async () => (await import('./net.ts')).net,
  'net-batched': async () => (await import('./net.ts')).netBatched,
  'message-port': async () => (await import('./message-port.ts')).messagePort,
  'bare-rings': async () => (await import('./bare-rings.ts')).bareRings,
  'barretenberg-spanwire': async () => (await import('./barretenberg.ts')).barretenbergSpanwire,
  'barretenberg-published': async () => (await import('./barretenberg.ts')).barretenbergPublished,
  zeromq: async () => (await import('./zeromq.ts')).zeromq,
};

export function loadPeer(name: PeerName): Promise<Peer> {
  return peers[name]();
}
