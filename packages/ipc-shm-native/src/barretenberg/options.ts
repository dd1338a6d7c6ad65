/** Options of this layout, and names. */
import type { ClientOptions, ServerOptions } from '@spanwire/ipc-core';

interface SharedOptions {
  readonly layout: 'barretenberg';
  /**
   * The process on the other side, whose end is then the end of the connection. Default: found once, as the process that has the shared
   * memory open. To be given where processes cannot see each other.
   */
  readonly peerPid?: number | undefined;
  /** How long to spin after the last message before sleeping, in microseconds: 0 (never spin) to 1,000,000; default 50. */
  readonly spinMicros?: number | undefined;
}

export interface BarretenbergServerOptions extends ServerOptions, SharedOptions {
  /** Size of the ring that clients write: a power of two from 4 KiB to 1 GiB; default 1 MiB. Messages have at most half of it, less 4 bytes. */
  readonly requestRingBytes?: number | undefined;
  /** Size of the ring that the server writes: a power of two from 4 KiB to 1 GiB; default 1 MiB. Answers have at most half of it, less 4 bytes. */
  readonly responseRingBytes?: number | undefined;
}

export interface BarretenbergClientOptions extends ClientOptions, SharedOptions {}

export interface BarretenbergSyncClientOptions extends SharedOptions {
  /** Largest message taken and sent, in bytes. 1 to 2^30 - 1; default 64 MiB. The ring may allow less. */
  readonly maxMessageBytes?: number | undefined;
  /** How long to wait for a server that is still busy for an earlier client. 1 to 2^31 - 1 ms; default 5,000. */
  readonly handshakeTimeoutMs?: number | undefined;
}

const SCHEME = 'shm:';
const MAX_NAME_BYTES = 246;
const MIN_RING_BYTES = 4096;
const MAX_RING_BYTES: number = 2 ** 30;
const DEFAULT_RING_BYTES: number = 2 ** 20;
const DEFAULT_SPIN_MICROS = 50;
const MAX_SPIN_MICROS = 1_000_000;
const MAX_PID: number = 2 ** 22;

/** The name of the shared memory in `name` or `shm:name`. Throws TypeError. */
export function parseName(name: unknown): string {
  const bare = typeof name === 'string' && name.startsWith(SCHEME) ? name.slice(SCHEME.length) : name;
  if (typeof bare === 'string' && /^\w[\w.-]*$/.test(bare) && bare.length <= MAX_NAME_BYTES) return bare;
  throw new TypeError(
    `Expected \`name\` to be "shm:name" of at most ${MAX_NAME_BYTES} letters, digits, ".", "_" and "-", got ${JSON.stringify(name)}`,
  );
}

export function ringBytesIn(name: string, value: number = DEFAULT_RING_BYTES): number {
  if (!Number.isInteger(value) || value < MIN_RING_BYTES || value > MAX_RING_BYTES || (value & (value - 1)) !== 0) {
    throw new RangeError(
      `Expected \`${name}\` to be a power of two from ${MIN_RING_BYTES} to ${MAX_RING_BYTES}, got ${String(value)}`,
    );
  }
  return value;
}

export interface BarretenbergSettings {
  readonly peerPid: number;
  readonly spinMicros: number;
}

/** Fills in the defaults; a `peerPid` of 0 is to be found. Throws RangeError. */
export function barretenbergSettings(options: SharedOptions): BarretenbergSettings {
  const { peerPid = 0, spinMicros = DEFAULT_SPIN_MICROS } = options;
  if (options.peerPid !== undefined && (!Number.isInteger(peerPid) || peerPid < 1 || peerPid > MAX_PID)) {
    throw new RangeError(`Expected \`peerPid\` to be the number of a process, got ${String(peerPid)}`);
  }
  if (!Number.isInteger(spinMicros) || spinMicros < 0 || spinMicros > MAX_SPIN_MICROS) {
    throw new RangeError(
      `Expected \`spinMicros\` to be an integer from 0 to ${MAX_SPIN_MICROS}, got ${String(spinMicros)}`,
    );
  }
  return { peerPid, spinMicros };
}
