/** What this runtime allows: asked once. */
import { addon, type HubOptions } from './addon.ts';

let external: boolean | undefined;

/** Whether ArrayBuffers may lie on shared memory. */
export function allowsExternalBuffers(): boolean {
  external ??= addon().hasExternalBuffers();
  return external;
}

/** Bun aborts a process that touches libuv. */
export function wakesBy(): HubOptions['wakesBy'] {
  return process.versions['bun'] === undefined ? 'loop' : 'thread';
}

/** Whether shared memory works here: the addon is there, and knows this system. */
export function isShmAvailable(): boolean {
  try {
    addon()
      .createHub({
        spinMicros: 0,
        workLimitMicros: 1000,
        leaveSharedCpu: false,
        wakesBy: 'nothing',
        copiesSmall: false,
      })
      .close();
    return true;
  } catch {
    return false;
  }
}
