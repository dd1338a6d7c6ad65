/** The blocking client of this layout. */
import {
  IpcError,
  MessageTooLargeError,
  PeerGoneError,
  ProtocolError,
  show,
  TimeoutError,
  type Bytes,
} from '@spanwire/ipc-core';
import { Attempt, LOOK_AGAIN_MS, type Attached } from './attach.ts';
import { NEVER } from '../never.ts';
import type { ShmSyncClient, SyncCallOptions } from '../sync.ts';
import type { BarretenbergSettings } from './options.ts';
import { NEVER_SENT, NO_ANSWER, PEER_IS_GONE, type Wire } from './wire.ts';

/** Larger answers come in memory of their own. */
const SCRATCH_BYTES: number = 16 * 1024;
const MAX_TIMEOUT_MS: number = 2 ** 31 - 1;
const NO_LIMIT = -1;

export interface SyncClientSettings extends BarretenbergSettings {
  readonly maxMessageBytes: number;
  readonly handshakeTimeoutMs: number;
}

export class BarretenbergSyncClient implements ShmSyncClient {
  readonly #wire: Wire;
  readonly #pid: number;
  readonly #scratch: Bytes = new Uint8Array(SCRATCH_BYTES);
  readonly #maxMessageBytes: number;
  /** Why calls are refused. */
  #over: IpcError | undefined;

  private constructor({ wire, peer }: Attached, settings: SyncClientSettings) {
    this.#wire = wire;
    this.#pid = peer.pid;
    this.#maxMessageBytes = Math.min(settings.maxMessageBytes, wire.largestOut);
  }

  /** Blocks until the server is ready, `handshakeTimeoutMs` at most. Throws {@link IpcError}. */
  static open(name: string, settings: SyncClientSettings): BarretenbergSyncClient {
    const { handshakeTimeoutMs } = settings;
    const nothing = (): void => {};
    const attempt = new Attempt({ name, wakesBy: 'nothing', onBatch: nothing, onEvent: nothing }, settings);
    const deadline = performance.now() + handshakeTimeoutMs;
    for (;;) {
      const attached = attempt.look();
      if (attached !== undefined) return new BarretenbergSyncClient(attached, settings);
      if (performance.now() >= deadline) throw attempt.timedOut(handshakeTimeoutMs);
      Atomics.wait(NEVER, 0, 0, LOOK_AGAIN_MS);
    }
  }

  call(data: Uint8Array, options?: SyncCallOptions): Bytes {
    if (!(data instanceof Uint8Array)) throw new TypeError(`Expected \`data\` to be a Uint8Array, got ${show(data)}`);
    const timeoutMs = options?.timeoutMs === undefined ? NO_LIMIT : expectTimeout(options.timeoutMs);
    if (this.#over !== undefined) throw this.#over;
    if (data.length > this.#maxMessageBytes) {
      throw new MessageTooLargeError(data.length, this.#maxMessageBytes, "the smaller of both sides'");
    }
    const scratch = this.#scratch;
    const answer = this.#wire.request(data, scratch, timeoutMs);
    if (typeof answer !== 'number') return answer;
    return answer >= 0 ? scratch.slice(0, answer) : this.#fail(answer, timeoutMs);
  }

  close(): void {
    this.#over ??= new IpcError('ERR_IPC_CLOSED', 'The client was closed');
    this.#wire.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #fail(code: number, timeoutMs: number): never {
    if (code === NEVER_SENT) {
      throw new TimeoutError(`Expected room for the request within ${timeoutMs} ms, got none`, timeoutMs);
    }
    if (code === NO_ANSWER) {
      throw new TimeoutError(`Expected an answer within ${timeoutMs} ms, got none`, timeoutMs);
    }
    this.#over =
      code === PEER_IS_GONE
        ? new PeerGoneError(`The server left, or its process ended (pid ${this.#pid})`)
        : new ProtocolError(`Expected a ring as a correct peer leaves it, got: ${this.#wire.fault()}`);
    this.#wire.close();
    throw this.#over;
  }
}

function expectTimeout(value: number): number {
  if (value >= 0 && value <= MAX_TIMEOUT_MS) return value;
  throw new RangeError(`Expected \`timeoutMs\` to be from 0 to ${MAX_TIMEOUT_MS}, got ${show(value)}`);
}
