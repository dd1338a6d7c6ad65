/** The blocking form: for programs, and workers, that have nothing else to do meanwhile. */
import type { Bytes } from '@spanwire/ipc-core';

export interface SyncCallOptions {
  /** Throws ERR_IPC_TIMEOUT when there is no answer by then; a late one goes to nobody. 0 to 2^31 - 1 ms; default: no limit. */
  readonly timeoutMs?: number | undefined;
}

/** A client whose calls block their thread. One call at a time, by nature. */
export interface ShmSyncClient {
  /**
   * Sends `data`, blocks until the answer is there, and returns an owned copy of it. Spins for a moment and sleeps then; the end of the
   * server is noticed within 100 ms.
   *
   * Throws TypeError or RangeError on bad arguments; ERR_IPC_MESSAGE_TOO_LARGE and ERR_IPC_TIMEOUT, after which the client is as before;
   * ERR_IPC_PEER_GONE, ERR_IPC_PROTOCOL and ERR_IPC_CLOSED, after which it is closed.
   */
  call(data: Uint8Array, options?: SyncCallOptions): Bytes;
  /** Never blocks. Idempotent. */
  close(): void;
  [Symbol.dispose](): void;
}
