import { fork, type ChildProcess, type ForkOptions } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { PeerName } from '../../links.ts';
import type { PeerOptions } from './peer.ts';

/** Starts the server of a peer in a process of its own; it ends with this one. */
export async function forkPeerServer(
  peer: PeerName,
  options: PeerOptions,
  how: ForkOptions = {},
): Promise<ChildProcess> {
  const program = fileURLToPath(new URL('../peer-server.js', import.meta.url));
  const server = fork(program, [peer, JSON.stringify(options)], how);
  const [first] = (await Promise.race([once(server, 'message'), once(server, 'exit')])) as unknown[];
  if (first !== 'ready') throw new Error(`The server of ${peer} ended with ${String(first)}`);
  return server;
}
