/** Options of servers and clients: one place for defaults, ranges and messages. */
import type { Bytes } from './contract.ts';
import { MAX_LENGTH } from './frame.ts';
import { MAX_HELLO_APPLICATION_BYTES, type Hello } from './hello.ts';

const KiB = 1024;
const MiB: number = 1024 * KiB;
/** setTimeout takes no more than this. */
const MAX_TIMER_MS: number = 2 ** 31 - 1;

/** What happens to a client that does not read its answers, or sent half a message and no more. */
export interface StalledClient {
  /** How long without any progress, in milliseconds. 1 to 2^31 - 1; default 30,000. */
  readonly afterMs: number;
  /** `disconnect` (the default) drops that client with reason `stalled`; `keep` lets it hold what it holds. */
  readonly action: 'disconnect' | 'keep';
}

interface SharedOptions {
  /** Largest message taken and sent, in bytes. 1 to 2^30 - 1; default 64 MiB. Both sides check; the smaller one counts. */
  readonly maxMessageBytes?: number | undefined;
  /** Credit per stream, in payload bytes; one item may overshoot. 1 KiB to 1 GiB; default 256 KiB. */
  readonly streamWindowBytes?: number | undefined;
  /** Memory for fragmented messages that are being put together, all peers together. At least `maxMessageBytes`; default 256 MiB. */
  readonly maxReassemblyBytes?: number | undefined;
  /** How long a handshake may take. 1 to 2^31 - 1 ms; default 5,000. */
  readonly handshakeTimeoutMs?: number | undefined;
  /** Opaque bytes of the application for the other side's `connected` event, at most 16 KiB. */
  readonly hello?: Uint8Array | undefined;
  /** What an Observable that is sent as a stream does when its consumer is slower. Default `error`. */
  readonly overflow?: Overflow | undefined;
}

/** What an Observable that is sent as a stream does when its buffer of 1,024 items is full. */
export type Overflow = 'error' | 'drop-oldest' | 'drop-newest';

/** Options of every server. */
export interface ServerOptions extends SharedOptions {
  /** Unreleased request bytes of one client. 8 KiB to 1 GiB; default 1 MiB. Shared memory: the ring's size instead. */
  readonly windowBytes?: number | undefined;
  /** Answer bytes that may wait for one client before its requests wait. 8 KiB to 1 GiB; default 1 MiB. */
  readonly responseWindowBytes?: number | undefined;
  /** Unanswered requests of one client. 1 to 1,048,576; default 1,024. */
  readonly maxInFlight?: number | undefined;
  /** Clients at once; more are refused ERR_IPC_OVERLOADED. 1 to 65,536; default 512. */
  readonly maxClients?: number | undefined;
  /** Windows (shared memory: rings) of all clients together; a client beyond is refused ERR_IPC_OVERLOADED. Default 2 GiB. */
  readonly maxMemoryBytes?: number | undefined;
  readonly stalledClient?: Partial<StalledClient> | undefined;
  /** How long running requests may take after a shutdown was requested. 0 to 2^31 - 1 ms; default 10,000. */
  readonly graceMs?: number | undefined;
}

/** Options of every client. */
export interface ClientOptions extends SharedOptions {
  /** Answer bytes taken unreleased. 8 KiB to 1 GiB; default 1 MiB. Shared memory: the ring's size instead. */
  readonly responseWindowBytes?: number | undefined;
  /** Pushes that wait to be received, in bytes; beyond it they are dropped and counted. 8 KiB to 1 GiB; default 1 MiB. */
  readonly windowBytes?: number | undefined;
  /** Calls that are not settled yet; beyond it they reject ERR_IPC_OVERLOADED. 1 to 1,048,576; default 1,024. */
  readonly maxPending?: number | undefined;
  /**
   * What a lost connection means. `false` (the default): the client is closed. `{ delaysMs }`: it connects again after these delays, the last one
   * repeated; what was never sent waits, what was sent fails with ERR_IPC_PEER_GONE and is never repeated.
   */
  readonly reconnect?: false | { readonly delaysMs: readonly number[] } | undefined;
  /** How long `close()` flushes one-way messages that wait for room. 0 to 2^31 - 1 ms; default 10,000. */
  readonly graceMs?: number | undefined;
}

/** {@link ServerOptions} with every default filled in. */
export interface ServerSettings {
  readonly maxMessageBytes: number;
  readonly streamWindowBytes: number;
  readonly maxReassemblyBytes: number;
  readonly handshakeTimeoutMs: number;
  readonly hello: Bytes | undefined;
  readonly overflow: Overflow;
  readonly windowBytes: number;
  readonly responseWindowBytes: number;
  readonly maxInFlight: number;
  readonly maxClients: number;
  readonly maxMemoryBytes: number;
  readonly stalledClient: StalledClient;
  readonly graceMs: number;
}

/** {@link ClientOptions} with every default filled in. */
export interface ClientSettings {
  readonly maxMessageBytes: number;
  readonly streamWindowBytes: number;
  readonly maxReassemblyBytes: number;
  readonly handshakeTimeoutMs: number;
  readonly hello: Bytes | undefined;
  readonly overflow: Overflow;
  readonly windowBytes: number;
  readonly responseWindowBytes: number;
  readonly maxPending: number;
  readonly reconnect: false | { readonly delaysMs: readonly number[] };
  readonly graceMs: number;
}

/** Fills in the defaults. Throws TypeError or RangeError naming the option. */
export function resolveServerOptions(options: ServerOptions = {}): ServerSettings {
  expectObject('options', options);
  const stalled = options.stalledClient ?? {};
  expectObject('stalledClient', stalled);
  return {
    ...resolveShared(options),
    windowBytes: integerIn('windowBytes', options.windowBytes, 8 * KiB, 1024 * MiB, MiB),
    responseWindowBytes: integerIn('responseWindowBytes', options.responseWindowBytes, 8 * KiB, 1024 * MiB, MiB),
    maxInFlight: integerIn('maxInFlight', options.maxInFlight, 1, 2 ** 20, 1024),
    maxClients: integerIn('maxClients', options.maxClients, 1, 65_536, 512),
    maxMemoryBytes: integerIn('maxMemoryBytes', options.maxMemoryBytes, 64 * KiB, 2 ** 40, 2048 * MiB),
    stalledClient: {
      afterMs: integerIn('stalledClient.afterMs', stalled.afterMs, 1, MAX_TIMER_MS, 30_000),
      action: oneOf('stalledClient.action', stalled.action, ['disconnect', 'keep'], 'disconnect'),
    },
    graceMs: integerIn('graceMs', options.graceMs, 0, MAX_TIMER_MS, 10_000),
  };
}

/** Fills in the defaults. Throws TypeError or RangeError naming the option. */
export function resolveClientOptions(options: ClientOptions = {}): ClientSettings {
  expectObject('options', options);
  return {
    ...resolveShared(options),
    windowBytes: integerIn('windowBytes', options.windowBytes, 8 * KiB, 1024 * MiB, MiB),
    responseWindowBytes: integerIn('responseWindowBytes', options.responseWindowBytes, 8 * KiB, 1024 * MiB, MiB),
    maxPending: integerIn('maxPending', options.maxPending, 1, 2 ** 20, 1024),
    reconnect: resolveReconnect(options.reconnect),
    graceMs: integerIn('graceMs', options.graceMs, 0, MAX_TIMER_MS, 10_000),
  };
}

/** What a server says in its hello. */
export function helloOfServer(settings: ServerSettings): Hello {
  return {
    windowBytes: settings.windowBytes,
    streamWindowBytes: settings.streamWindowBytes,
    maxMessageBytes: settings.maxMessageBytes,
    pushes: false,
    streams: true,
    application: settings.hello,
  };
}

/** What a client says in its hello. */
export function helloOfClient(settings: ClientSettings): Hello {
  return {
    windowBytes: settings.responseWindowBytes,
    streamWindowBytes: settings.streamWindowBytes,
    maxMessageBytes: settings.maxMessageBytes,
    pushes: true,
    streams: true,
    application: settings.hello,
  };
}

function resolveShared(
  options: SharedOptions,
): Pick<
  ServerSettings,
  'maxMessageBytes' | 'streamWindowBytes' | 'maxReassemblyBytes' | 'handshakeTimeoutMs' | 'hello' | 'overflow'
> {
  const maxMessageBytes = integerIn('maxMessageBytes', options.maxMessageBytes, 1, MAX_LENGTH, 64 * MiB);
  const hello = options.hello;
  if (hello !== undefined) {
    expectBytes('hello', hello);
    if (hello.byteLength > MAX_HELLO_APPLICATION_BYTES) {
      throw new RangeError(
        `Expected \`hello\` to have at most ${MAX_HELLO_APPLICATION_BYTES} bytes, got ${hello.byteLength}`,
      );
    }
  }
  return {
    maxMessageBytes,
    streamWindowBytes: integerIn('streamWindowBytes', options.streamWindowBytes, KiB, 1024 * MiB, 256 * KiB),
    maxReassemblyBytes: integerIn(
      'maxReassemblyBytes',
      options.maxReassemblyBytes,
      maxMessageBytes,
      2 ** 40,
      Math.max(256 * MiB, maxMessageBytes),
    ),
    handshakeTimeoutMs: integerIn('handshakeTimeoutMs', options.handshakeTimeoutMs, 1, MAX_TIMER_MS, 5_000),
    hello: hello === undefined ? undefined : new Uint8Array(hello),
    overflow: oneOf('overflow', options.overflow, ['error', 'drop-oldest', 'drop-newest'], 'error'),
  };
}

function resolveReconnect(value: ClientOptions['reconnect']): ClientSettings['reconnect'] {
  if (value === undefined || value === false) return false;
  expectObject('reconnect', value);
  if (!Array.isArray(value.delaysMs) || value.delaysMs.length === 0) {
    throw new TypeError(
      `Expected \`reconnect.delaysMs\` to be a list with at least one delay, got ${show(value.delaysMs)}`,
    );
  }
  const delaysMs = value.delaysMs.map((delay, i) => integerIn(`reconnect.delaysMs[${i}]`, delay, 0, MAX_TIMER_MS, 0));
  return { delaysMs };
}

/** `value` when it is an integer from `min` to `max`, `fallback` when undefined; else throws naming the option. */
export function integerIn(name: string, value: unknown, min: number, max: number, fallback: number): number {
  if (value === undefined) return fallback;
  if (typeof value !== 'number') {
    throw new TypeError(`Expected \`${name}\` to be an integer from ${min} to ${max}, got ${show(value)}`);
  }
  if (!Number.isInteger(value) || value < min || value > max) {
    throw new RangeError(`Expected \`${name}\` to be an integer from ${min} to ${max}, got ${value}`);
  }
  return value;
}

/** Throws unless `value` is a number of bytes that a message may have. */
export function expectSize(name: string, value: unknown): asserts value is number {
  // What is left out has no fallback here.
  if (value === undefined) {
    throw new TypeError(`Expected \`${name}\` to be an integer from 0 to ${MAX_LENGTH}, got undefined`);
  }
  integerIn(name, value, 0, MAX_LENGTH, 0);
}

/** Whose limit {@link bothSides} is, for messages. */
export const SMALLER = "the smaller of both sides'";

/** What both sides let pass; `peer` is undefined where the peer tells nothing. */
export function bothSides(own: number, peer: number | undefined): number {
  return peer === undefined ? own : Math.min(own, peer);
}

/** A timeout in milliseconds, or undefined for none; throws on what setTimeout would misread. */
export function expectTimeout(name: string, value: unknown): number | undefined {
  if (value === undefined) return undefined;
  if (typeof value !== 'number') {
    throw new TypeError(
      `Expected \`${name}\` to be a number of milliseconds from 0 to ${MAX_TIMER_MS}, got ${show(value)}`,
    );
  }
  if (!(value >= 0 && value <= MAX_TIMER_MS)) {
    throw new RangeError(`Expected \`${name}\` to be a number of milliseconds from 0 to ${MAX_TIMER_MS}, got ${value}`);
  }
  return value;
}

/** Throws unless `value` is one of `choices` (or undefined, for which it returns `fallback`). */
export function oneOf<T extends string>(name: string, value: unknown, choices: readonly T[], fallback: T): T {
  if (value === undefined) return fallback;
  const found = choices.find((choice) => choice === value);
  if (found === undefined) {
    throw new TypeError(`Expected \`${name}\` to be ${choices.map((c) => `"${c}"`).join(' or ')}, got ${show(value)}`);
  }
  return found;
}

/** Throws unless `value` is a Uint8Array. */
export function expectBytes(name: string, value: unknown): asserts value is Uint8Array {
  if (!(value instanceof Uint8Array)) {
    throw new TypeError(`Expected \`${name}\` to be a Uint8Array, got ${show(value)}`);
  }
}

/** Throws unless `value` is a function. */
export function expectFunction(name: string, value: unknown): void {
  if (typeof value !== 'function') throw new TypeError(`Expected \`${name}\` to be a function, got ${show(value)}`);
}

function expectObject(name: string, value: unknown): void {
  if (typeof value !== 'object' || value === null) {
    throw new TypeError(`Expected \`${name}\` to be an object, got ${show(value)}`);
  }
}

/** A short description of any value, for messages. */
export function show(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value.length > 60 ? `${value.slice(0, 60)}...` : value);
  if (typeof value === 'object' && value !== null) {
    const name = classOf(value);
    return typeof name === 'string' && name !== '' ? `an object of class ${name}` : 'an object';
  }
  return typeof value === 'function' ? 'a function' : String(value);
}

function classOf(value: object): unknown {
  try {
    const prototype = Object.getPrototypeOf(value) as { constructor?: { name?: unknown } } | null;
    return prototype?.constructor?.name;
  } catch {
    // A proxy may refuse to tell.
    return undefined;
  }
}
