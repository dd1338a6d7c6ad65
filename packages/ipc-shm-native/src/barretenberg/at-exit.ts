/**
 * Closes what is open when the process exits: `process.exit` and uncaught errors run 'exit' listeners, but no cleanup hooks of addons.
 * (A worker that is terminated is the other way round.) A process that a signal kills leaves its names; the next server takes them.
 */
import type { Wire } from './wire.ts';

const open = new Set<Wire>();

function closeAll(): void {
  for (const wire of open) wire.close();
}

export function closeAtExit(wire: Wire): void {
  if (open.size === 0) process.on('exit', closeAll);
  open.add(wire);
}

/** It is closed. */
export function forgetAtExit(wire: Wire): void {
  if (open.delete(wire) && open.size === 0) process.off('exit', closeAll);
}
