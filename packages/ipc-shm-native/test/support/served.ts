/** What a `server.mjs` says of its clients. */
import type { ServerStats } from '@spanwire/ipc-core';
import type { Child } from './children.ts';

export interface State {
  readonly stats: ServerStats;
  readonly came: ReadonlyArray<{ pid: number; clientId: number }>;
  readonly left: ReadonlyArray<{ pid: number; clientId: number; reason: string; code: string; atMs: number }>;
}

/** Who came and left since the last time. */
export async function stateOf(server: Child): Promise<State> {
  server.send('state');
  return server.next<State>();
}
