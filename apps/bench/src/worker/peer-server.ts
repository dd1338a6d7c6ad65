/** The server of a peer: `node peer-server.js PEER OPTIONS`, as a forked process or a worker thread. Ends with whoever started it. */
import { parentPort } from 'node:worker_threads';
import type { PeerName } from '../links.ts';
import { loadPeer } from './peers/load-peer.ts';
import type { PeerOptions } from './peers/peer.ts';

const [name = '', options = ''] = process.argv.slice(2);
const peer = await loadPeer(name as PeerName);
await peer.serve?.(JSON.parse(options) as PeerOptions);
if (parentPort === null) {
  process.on('disconnect', () => process.exit());
  process.send?.('ready');
} else {
  // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread, no window
  parentPort.postMessage('ready');
}
