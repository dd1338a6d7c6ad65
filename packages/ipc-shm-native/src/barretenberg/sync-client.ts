/** The blocking client of this layout. */
import {
  IpcError,
  MessageTooLargeError,
  PeerGoneError,
  ProtocolError,
  TimeoutError,
  type Bytes,
} from '@spanwire/ipc-core';
import { Attempt, LOOK_AGAIN_MS, type Attached } from './attach.ts';
import type { BarretenbergSettings } from './options.ts';
import { NEVER_SENT, NO_ANSWER, PEER_IS_GONE, type Wire } from './wire.ts';

/** Larger answers come in memory of their own. */
const SCRATCH_BYTES: number = 16 * 1024;

export interface SyncCallOptions {
  /** Throws ERR_IPC_TIMEOUT when the answer is not there by then; its late answer goes to nobody. Default: no limit. */
  readonly timeoutMs?: number | undefined;
}

export interface SyncClientSettings extends BarretenbergSettings {
  readonly maxMessageBytes: number;
  readonly handshakeTimeoutMs: number;
}

export class BarretenbergSyncClient {
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

  /** Sends `data` and blocks for its answer, of which it returns an owned copy. Throws {@link IpcError}. */
  call(data: Uint8Array, options?: SyncCallOptions): Bytes {
    if (this.#over !== undefined) throw this.#over;
    const timeoutMs = options?.timeoutMs ?? -1;
    if (data.length > this.#maxMessageBytes) {
      throw new MessageTooLargeError(data.length, this.#maxMessageBytes, "the smaller of both sides'");
    }
    const scratch = this.#scratch;
    const answer = this.#wire.request(data, scratch, timeoutMs);
    if (typeof answer !== 'number') return answer;
    return answer >= 0 ? scratch.slice(0, answer) : this.#fail(answer, timeoutMs);
  }

  /** Idempotent. */
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

const NEVER = new Int32Array(new SharedArrayBuffer(4));
