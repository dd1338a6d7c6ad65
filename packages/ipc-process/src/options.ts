/** Options: one place for defaults, ranges and messages. */
import { expectFunction, integerIn, oneOf, show, type Overflow } from '@spanwire/ipc-core';
import { RpcTarget } from 'capnweb';
import type { OutputTarget } from './child.ts';
import type { ErrorClass } from './error-wire.ts';
import type { RestartPolicy } from './spawned-process.ts';
import type { IpcTransport } from './transports.ts';

const KiB = 1024;
const MiB: number = 1024 * KiB;
/** setTimeout takes no more than this. */
const MAX_TIMER_MS: number = 2 ** 31 - 1;
const MAX_MESSAGE_BYTES: number = 2 ** 30 - 1;

/** Options of {@link createIpc}. */
export interface IpcOptions<Context = undefined> {
  /** What other processes get: those that spawned this one, and those that connect to an address it listens on. */
  readonly init?: RpcTarget | undefined;
  /** One object for all who have this Ipc; it is given back as `ipc.context`. */
  readonly context?: Context | undefined;
  /** The folder that `unix` addresses are relative to. Without it they have to be absolute. */
  readonly dataDir?: string | undefined;
  /** The file in `dataDir` that the address `unix` means. Default `spanwire.sock`. */
  readonly socketName?: string | undefined;
  /** More transports by the scheme of their addresses, besides `unix` and `shm`; or other ones for these. */
  readonly transports?: Readonly<Record<string, IpcTransport>> | undefined;
  /** Error classes that arrive as themselves; both sides list them. Known by their names. Others arrive as RemoteError. */
  readonly errors?: readonly ErrorClass[] | undefined;
  /** What an Observable does whose subscriber in another process is more than 1,024 items behind. Default `error`. */
  readonly overflow?: Overflow | undefined;
  /** Largest message, in bytes. 1 KiB to 2^30 - 1; default 64 MiB. Both sides check: a larger call or answer fails alone. */
  readonly maxMessageBytes?: number | undefined;
  /** Memory for large messages that are being received, all connections together. At least `maxMessageBytes`; default 256 MiB. */
  readonly maxReassemblyBytes?: number | undefined;
  /**
   * Bytes that may wait for one peer that does not read. 1 MiB to 2^40; default 256 MiB. Calls and answers beyond it fail with
   * ERR_IPC_OVERLOADED; a peer that goes on is disconnected.
   */
  readonly maxQueuedBytes?: number | undefined;
  /** Bytes of messages that are received and not yet decoded, per connection. 8 KiB to 1 GiB; default 1 MiB. */
  readonly windowBytes?: number | undefined;
  /** How long a connection may take to say hello; a spawned process has its `startTimeoutMs` instead. 1 to 2^31 - 1 ms; default 5,000. */
  readonly handshakeTimeoutMs?: number | undefined;
  /** How long closing may flush, and how long running calls may take when their caller is gone. 0 to 2^31 - 1 ms; default 10,000. */
  readonly graceMs?: number | undefined;
  /** Told of failures that have nobody else to be told to. Default: `process.emitWarning`. */
  readonly onWarning?: ((message: string, error: unknown) => void) | undefined;
}

/** Options of `spawnProcess`. The standard input of the process is empty: what it is told comes by calls. */
export interface SpawnOptions {
  /** The environment; default: that of this process. */
  readonly env?: NodeJS.ProcessEnv | undefined;
  /** The current directory; default: that of this process. */
  readonly cwd?: string | URL | undefined;
  /** Arguments of Node for scripts, before the script. Default: none. */
  readonly execArgv?: readonly string[] | undefined;
  /** Where its output goes: as in node:child_process, and a number is a descriptor. Default `inherit`. */
  readonly stdout?: OutputTarget | undefined;
  /** As `stdout`. */
  readonly stderr?: OutputTarget | undefined;
  /** How long it may take until it serves. 1 to 2^31 - 1 ms; default 30,000. */
  readonly startTimeoutMs?: number | undefined;
  /** How long it may take to end when it was told to; then it is killed. 0 to 2^31 - 1 ms; default 15,000. */
  readonly killAfterMs?: number | undefined;
  /** Starts it again when it ends unasked. Default: never. */
  readonly restart?: RestartPolicy | undefined;
  /** What carries the calls. `pipe`, the default: the descriptor it inherits. Any other scheme: a channel of that transport beside it. */
  readonly transport?: string | undefined;
  /** Gives up starting. */
  readonly signal?: AbortSignal | undefined;
}

/** Options of `connectAddress`. */
export interface ConnectOptions {
  /** Gives up connecting, also when the other side has as many connections as it takes. */
  readonly signal?: AbortSignal | undefined;
}

/** Options of `listenAddress`. */
export interface ListenOptions {
  /** Connections at a time; more wait until one ends. 1 to 65,536; default: no limit. */
  readonly maxConnections?: number | undefined;
}

export interface IpcSettings {
  readonly init: RpcTarget | undefined;
  readonly dataDir: string | undefined;
  readonly socketName: string;
  readonly transports: Readonly<Record<string, IpcTransport>>;
  readonly errors: readonly ErrorClass[];
  readonly overflow: Overflow;
  readonly maxMessageBytes: number;
  readonly maxReassemblyBytes: number;
  readonly maxQueuedBytes: number;
  readonly windowBytes: number;
  readonly handshakeTimeoutMs: number;
  readonly graceMs: number;
  readonly warn: (message: string, error: unknown) => void;
}

/** Fills in the defaults. Throws TypeError or RangeError naming the option. */
export function resolveIpcOptions(options: IpcOptions<unknown>): IpcSettings {
  const { init, dataDir, onWarning, transports = {} } = options;
  if (init !== undefined && !(init instanceof RpcTarget)) {
    throw new TypeError(`Expected \`init\` to be an object whose class extends RpcTarget, got ${show(init)}`);
  }
  if (dataDir !== undefined) expectText('dataDir', dataDir);
  const socketName = options.socketName ?? 'spanwire.sock';
  expectText('socketName', socketName);
  if (onWarning !== undefined) expectFunction('onWarning', onWarning);
  if (typeof transports !== 'object' || transports === null) {
    throw new TypeError(`Expected \`transports\` to be an object of transports by scheme, got ${show(transports)}`);
  }
  const maxMessageBytes = integerIn('maxMessageBytes', options.maxMessageBytes, KiB, MAX_MESSAGE_BYTES, 64 * MiB);
  return {
    init,
    dataDir,
    socketName,
    transports,
    errors: options.errors ?? [],
    overflow: oneOf('overflow', options.overflow, ['error', 'drop-oldest', 'drop-newest'], 'error'),
    maxMessageBytes,
    maxReassemblyBytes: integerIn(
      'maxReassemblyBytes',
      options.maxReassemblyBytes,
      maxMessageBytes,
      2 ** 40,
      Math.max(256 * MiB, maxMessageBytes),
    ),
    maxQueuedBytes: integerIn('maxQueuedBytes', options.maxQueuedBytes, MiB, 2 ** 40, 256 * MiB),
    windowBytes: integerIn('windowBytes', options.windowBytes, 8 * KiB, 1024 * MiB, MiB),
    handshakeTimeoutMs: integerIn('handshakeTimeoutMs', options.handshakeTimeoutMs, 1, MAX_TIMER_MS, 5_000),
    graceMs: integerIn('graceMs', options.graceMs, 0, MAX_TIMER_MS, 10_000),
    warn: onWarning ?? emitWarning,
  };
}

export interface ResolvedSpawnOptions {
  readonly env: NodeJS.ProcessEnv | undefined;
  readonly cwd: string | URL | undefined;
  readonly execArgv: readonly string[];
  readonly stdout: OutputTarget;
  readonly stderr: OutputTarget;
  readonly startTimeoutMs: number;
  readonly killAfterMs: number;
  readonly restart: RestartPolicy | undefined;
  readonly transport: string;
  readonly signal: AbortSignal | undefined;
}

/** Fills in the defaults. Throws TypeError or RangeError naming the option. */
export function resolveSpawnOptions(options: SpawnOptions): ResolvedSpawnOptions {
  const { env, cwd, execArgv = [], signal, transport = 'pipe' } = options;
  expectText('transport', transport);
  if (env !== undefined && (typeof env !== 'object' || env === null)) {
    throw new TypeError(`Expected \`env\` to be an object of variables, got ${show(env)}`);
  }
  if (cwd !== undefined && !(cwd instanceof URL)) expectText('cwd', cwd);
  if (!Array.isArray(execArgv) || execArgv.some((each) => typeof each !== 'string')) {
    throw new TypeError(`Expected \`execArgv\` to be a list of strings, got ${show(execArgv)}`);
  }
  expectSignal(signal);
  return {
    env,
    cwd,
    execArgv,
    stdout: output('stdout', options.stdout),
    stderr: output('stderr', options.stderr),
    startTimeoutMs: integerIn('startTimeoutMs', options.startTimeoutMs, 1, MAX_TIMER_MS, 30_000),
    killAfterMs: integerIn('killAfterMs', options.killAfterMs, 0, MAX_TIMER_MS, 15_000),
    restart: resolveRestart(options.restart),
    transport,
    signal,
  };
}

/** Throws TypeError unless `signal` is an AbortSignal, or undefined. */
export function expectSignal(signal: unknown): void {
  if (signal === undefined || signal instanceof AbortSignal) return;
  throw new TypeError(`Expected \`signal\` to be an AbortSignal, got ${show(signal)}`);
}

export function resolveMaxConnections(options: ListenOptions): number {
  return integerIn('maxConnections', options.maxConnections, 1, 65_536, Number.MAX_SAFE_INTEGER);
}

function resolveRestart(policy: RestartPolicy | undefined): RestartPolicy | undefined {
  if (policy === undefined) return undefined;
  const { delaysMs } = policy;
  if (!Array.isArray(delaysMs) || delaysMs.length === 0) {
    throw new TypeError(`Expected \`restart.delaysMs\` to be a list with at least one delay, got ${show(delaysMs)}`);
  }
  return {
    delaysMs: delaysMs.map((delay, i) => integerIn(`restart.delaysMs[${i}]`, delay, 0, MAX_TIMER_MS, 0)),
    max: policy.max === Infinity ? Infinity : integerIn('restart.max', policy.max, 0, Number.MAX_SAFE_INTEGER, 0),
  };
}

function output(name: string, value: unknown): OutputTarget {
  if (typeof value === 'number') return integerIn(name, value, 0, 2 ** 31 - 1, 0);
  return oneOf<'inherit' | 'ignore' | 'pipe'>(name, value, ['inherit', 'ignore', 'pipe'], 'inherit');
}

function expectText(name: string, value: unknown): void {
  if (typeof value !== 'string' || value === '') {
    throw new TypeError(`Expected \`${name}\` to be a string that is not empty, got ${show(value)}`);
  }
}

function emitWarning(message: string, error: unknown): void {
  const detail = error instanceof Error ? (error.stack ?? error.message) : String(error);
  process.emitWarning(message, { code: 'SPANWIRE_IPC', detail });
}
