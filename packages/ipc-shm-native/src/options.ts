/** Options of this transport, beyond those of every transport. */
import type { ClientOptions, PeerInfo, ServerOptions } from '@spanwire/ipc-core';
import { MAX_RING_BYTES, MIN_RING_BYTES } from './layout.ts';

const DEFAULT_RING_BYTES: number = 1024 * 1024;
const DEFAULT_SPIN_MICROS = 50;
const MAX_SPIN_MICROS = 1_000_000;

interface ShmOptions {
  /** How the memory is laid out: `spanwire` (the default), or `barretenberg` with options of its own. */
  readonly layout?: 'spanwire' | undefined;
  /** Where `shm:name` addresses are: an absolute path. Default `$XDG_RUNTIME_DIR/spanwire`, else one per user in the temporary directory. */
  readonly directory?: string | undefined;
  /**
   * How long to spin after the last message before sleeping, in microseconds: 0 (never spin) to 1,000,000; default 50. Below the wake
   * latency of the machine (about 25) it is worse than none. A client that had to wake its server spins for up to 150 longer, where that pays.
   */
  readonly spinMicros?: number | undefined;
  /** Move away from a CPU that the peer runs on, at most once in 10 ms. Default true. */
  readonly leaveSharedCpu?: boolean | undefined;
  /** False: copy in and out of the rings, as in runtimes that forbid ArrayBuffers on foreign memory. Default: what the runtime allows. */
  readonly externalBuffers?: boolean | undefined;
}

/** Who may connect: the same user and root, unless `authorize` says otherwise. */
export type Authorize = (peer: PeerInfo) => boolean;

export interface ShmServerOptions extends Omit<ServerOptions, 'windowBytes' | 'responseWindowBytes'>, ShmOptions {
  /** Size of a client's request ring: a power of two from 8 KiB to 1 GiB; default 1 MiB. */
  readonly requestRingBytes?: number | undefined;
  /** Size of a client's response ring: a power of two from 8 KiB to 1 GiB; default 1 MiB. */
  readonly responseRingBytes?: number | undefined;
  /** Decides by the peer's user and process id, as the kernel knows them. Default: the same user, or root. */
  readonly authorize?: Authorize | undefined;
  /** For tests: memory cannot be reserved. */
  readonly failReserve?: boolean | undefined;
}

export interface ShmClientOptions extends Omit<ClientOptions, 'responseWindowBytes'>, ShmOptions {}

export interface ShmSyncClientOptions
  extends ShmOptions, Pick<ClientOptions, 'maxMessageBytes' | 'handshakeTimeoutMs' | 'hello'> {}

export interface ShmSettings {
  readonly spinMicros: number;
  readonly leaveSharedCpu: boolean;
  readonly copying: boolean;
}

export function shmSettings(options: ShmOptions): ShmSettings {
  const { spinMicros = DEFAULT_SPIN_MICROS, leaveSharedCpu = true, externalBuffers = true } = options;
  if (!Number.isInteger(spinMicros) || spinMicros < 0 || spinMicros > MAX_SPIN_MICROS) {
    throw new RangeError(
      `Expected \`spinMicros\` to be an integer from 0 to ${MAX_SPIN_MICROS}, got ${String(spinMicros)}`,
    );
  }
  if (typeof leaveSharedCpu !== 'boolean') {
    throw new TypeError(`Expected \`leaveSharedCpu\` to be true or false, got ${String(leaveSharedCpu)}`);
  }
  if (typeof externalBuffers !== 'boolean') {
    throw new TypeError(`Expected \`externalBuffers\` to be true or false, got ${String(externalBuffers)}`);
  }
  return { spinMicros, leaveSharedCpu, copying: !externalBuffers };
}

export interface RingSizes {
  readonly request: number;
  readonly response: number;
}

export function ringSizes(options: ShmServerOptions): RingSizes {
  return {
    request: ringBytes('requestRingBytes', options.requestRingBytes),
    response: ringBytes('responseRingBytes', options.responseRingBytes),
  };
}

function ringBytes(name: string, value: number = DEFAULT_RING_BYTES): number {
  if (!Number.isInteger(value) || value < MIN_RING_BYTES || value > MAX_RING_BYTES || (value & (value - 1)) !== 0) {
    throw new RangeError(
      `Expected \`${name}\` to be a power of two from ${MIN_RING_BYTES} to ${MAX_RING_BYTES}, got ${String(value)}`,
    );
  }
  return value;
}
