import type { ServerOptions } from '@spanwire/ipc-core';
import type { Workload } from '../workload.ts';

const KiB = 1024;
const DEFAULT_RING_BYTES = 1024 * KiB;

/** Rings, or windows, in each direction. */
export function ringBytesOf(workload: Workload): number {
  if (workload.kind === 'large') return workload.ringBytes;
  // Many clients: what they need is small, and the default would be a gigabyte for all.
  if (workload.kind === 'clients' || workload.kind === 'memory') return 64 * KiB;
  return DEFAULT_RING_BYTES;
}

export function serverOptionsOf(workload: Workload): ServerOptions {
  return workload.kind === 'clients' || workload.kind === 'memory' ? { maxClients: 1024 } : {};
}
