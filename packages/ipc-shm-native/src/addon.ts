/**
 * The native addon, typed. This is the only file that loads it.
 *
 * An entry of a batch is four int32: `what`, `first`, `second`, `third`. For a frame `what` is the slot (plus
 * `layout.controlLane`), `first` the offset of its payload from the start of its ring, `second` and `third` the two header
 * words. For an event `what` is the slot plus `layout.eventBit`, and `first` says which.
 */
import { createRequire } from 'node:module';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { IpcError } from '@spanwire/ipc-core';

export interface HubOptions {
  /** How long to spin after the last message before sleeping; 0: never. */
  readonly spinMicros: number;
  /** The longest stretch of work before the event loop gets a full turn. */
  readonly workLimitMicros: number;
  /** Whether to move away from a CPU that the peer runs on, at most once in 10 ms. */
  readonly leaveSharedCpu: boolean;
  /** Whether small payloads of data frames are also copied to {@link Hub.copies}. */
  readonly copiesSmall: boolean;
  /** `loop`: libuv; `thread`: where libuv may not be touched; `nothing`: the blocking form, with `wait`. */
  readonly wakesBy: 'loop' | 'thread' | 'nothing';
  /** Called with the number of entries in `batch`, which stay there until the next call that collects. */
  readonly onBatch?: ((count: number) => void) | undefined;
}

/** The geometry of a mapped segment, and where external ArrayBuffers are allowed the buffer over all of it. */
export interface Memory {
  readonly pageBytes: number;
  readonly controlOffset: number;
  readonly requestRingBytes: number;
  readonly responseRingBytes: number;
  readonly controlRingBytes: number;
  readonly buffer?: ArrayBuffer;
}

/** Index in {@link Hub.state}: 1 while a turn runs or is due, 0 asleep. Read only. */
export const STATE_AWAKE = 0;
/** Index in {@link Hub.state}: not 0 while spinning may pay, since an answer or a request may come. Written here. */
export const STATE_EXPECTING = 1;
/**
 * Index in {@link Hub.state}: how often {@link Hub.collect} looks again before it says that nothing is there, some 20 ns each. It
 * saves round trips through the microtask queue, which must have nothing else to do meanwhile. Written here.
 */
export const STATE_PATIENCE = 2;
/** Index in {@link Hub.state}: 1 when `collect` found nothing and looking on keeps the peer from running. Read only. */
export const STATE_HOPELESS = 3;

/**
 * The connections of one server or client, by slot. A slot is reused after `remove`, but not before the next batch. Failures are
 * thrown as {@link NativeFailure}s.
 */
export interface Hub {
  readonly batch: Int32Array<ArrayBuffer>;
  readonly state: Int32Array<ArrayBuffer>;
  /** With `copiesSmall`: `layout.copyPlaces` places of `layout.copyPlaceBytes`; what fits the place of its entry is there as long as the batch. */
  readonly copies: Int32Array<ArrayBuffer> | undefined;

  /** Binds in a private directory and takes the lock of the address; EBUSY when someone else has it. */
  bind(path: string, mode: number): void;
  /** Shows the bound socket under its name (EADDRINUSE when a server answers there and `replace` is false), and listens. */
  publish(replace: boolean): void;
  /** Also undoes a `bind` without `publish`. Frees the address; connections live on. */
  stopListening(): void;
  /** Connects; blocks up to `waitMs` for a place in the server's queue (0: EAGAIN instead). Returns the slot. */
  connect(path: string, waitMs: number): number;
  peer(slot: number): { readonly pid: number; readonly uid: number };

  sendHandshake(slot: number, bytes: Uint8Array, withMemory: boolean): void;
  /** How many bytes came; 0: the connection ended; -1: nothing now. An expected descriptor is kept for `openMemory`. */
  receiveHandshake(slot: number, into: Uint8Array, expectMemory: boolean): number;
  /** `failReserve` simulates a full memory. */
  createMemory(slot: number, requestRingBytes: number, responseRingBytes: number, failReserve: boolean): void;
  openMemory(slot: number): void;
  memory(slot: number, withBuffer: boolean): Memory;
  /** Ends the handshake: from now on the rings are read, and the socket is the doorbell. */
  goLive(slot: number, isServer: boolean): void;
  /** Closes the connection, detaches its buffer and gives the memory back at once. */
  remove(slot: number): void;

  /** One pass over the rings of hot channels and some of the others: the number of entries in `batch`. */
  collect(): number;
  /** The same after a look at the sockets: everything that is there. */
  look(): number;
  /** Blocks until there is a batch; 0: the time is over. Below 0: for ever. Only with `wakesBy: 'nothing'`. */
  wait(timeoutMs: number): number;
  /** Wakes the peer if it sleeps. */
  ring(slot: number): void;
  /** Something was sent there while the hub sleeps, and an answer is expected: spin for it. */
  kick(slot: number): void;
  /** Asks for an event once the tail of that lane (0: data, 1: control) has reached `target`; true: it has, and no event comes. */
  wantRoom(slot: number, lane: number, target: number): boolean;
  /** Leaves data in its ring, or takes it again; control is always taken. */
  pause(slot: number, paused: boolean): void;

  /** Copying path: 1 written, 0 no room, -1 the peer broke the ring. `position` is for the control lane. */
  write(slot: number, lane: number, word0: number, word1: number, payload: Uint8Array, position: number): number;
  /** Copying path: copies out of a ring that is read. */
  read(slot: number, lane: number, offset: number, into: Uint8Array): void;
  /** Copying path: whether the peer has published data up to `position`. */
  published(slot: number, position: number): boolean;
  /** Copying path: gives back everything before `position` of the data ring that is read. */
  release(slot: number, position: number): void;

  ref(): void;
  unref(): void;
  /** Removes every slot, frees the address, and calls back no more. Idempotent. */
  close(): void;
}

/** What hub functions throw when the system or the peer refuses something. */
export interface NativeFailure extends Error {
  readonly kind: 'system' | 'unsupported' | 'protocol';
  readonly operation: string;
  readonly errno: number;
}

/** Whether `error` comes from the addon. */
export function isNativeFailure(error: unknown): error is NativeFailure {
  return error instanceof Error && 'kind' in error && 'errno' in error;
}

export interface Addon {
  createHub(options: HubOptions): Hub;
  /** What to `connect` to in order to wait for the lock of an address: that connection ends when the lock is free. */
  lockName(path: string): string;
  /** Whether an ArrayBuffer may lie on foreign memory in this runtime. */
  hasExternalBuffers(): boolean;
  describeViolation(what: number, detail: number): string;
  /** Offsets in a mapping: request control, response control, request, response, and the end. */
  areas(
    pageBytes: number,
    controlOffset: number,
    requestRingBytes: number,
    responseRingBytes: number,
    controlRingBytes: number,
  ): readonly number[] | undefined;
  readonly layout: Readonly<Record<string, number>>;
}

const require = createRequire(import.meta.url);
let loaded: Addon | undefined;

/** The addon. Throws ERR_IPC_NATIVE_UNAVAILABLE, with what was tried, where there is none. */
export function addon(): Addon {
  loaded ??= load();
  return loaded;
}

function load(): Addon {
  const folder = dirname(dirname(fileURLToPath(import.meta.url)));
  try {
    const find = require('node-gyp-build') as (folder: string) => Addon;
    return find(folder);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new IpcError(
      'ERR_IPC_NATIVE_UNAVAILABLE',
      `Expected the native addon of @spanwire/ipc-shm-native in ${folder} (build/Release or prebuilds, for ` +
        `${process.platform}-${process.arch}), got: ${reason.trim()}. To build it, install a C++20 compiler, make and Python 3 ` +
        'and run `npm explore @spanwire/ipc-shm-native -- npm run build:native -- --strict`; or use @spanwire/ipc-socket, ' +
        'which needs no native code',
      { cause },
    );
  }
}
