/** The blocking form: for programs, and workers, that have nothing else to do meanwhile. */
import type { Bytes, IpcRequest, IpcServer } from '@spanwire/ipc-core';

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

/**
 * What answers requests in {@link ShmServer.runSync}: gives bytes, or undefined for no answer. The span is its own until it returns. What it throws
 * answers that request with an error, and so does a promise that it returns (ERR_IPC_UNSUPPORTED): nothing could ever settle it.
 * `info` is there for handlers that declare a third parameter; those that do not are answered faster.
 */
export type SyncHandler = (clientId: number, request: Bytes, info: IpcRequest) => Uint8Array | undefined;

export interface RunSyncOptions {
  /**
   * A flag that another thread sets to end it: an Int32Array on a SharedArrayBuffer, looked at between requests and every 100 ms. Its
   * first element not 0 means `requestShutdown()`.
   */
  readonly stop?: Int32Array | undefined;
  /** Called once, when clients can connect. What it throws ends the server, and `runSync` throws it. */
  readonly onListening?: (() => void) | undefined;
}

/** A server on shared memory: with promises and Observables as every {@link IpcServer}, or blocking the thread. */
export interface ShmServer extends IpcServer {
  /**
   * Listens, and answers every request with `handler`, until the server has shut down. Instead of `listen()`. Clients of all kinds may come.
   *
   * Blocks the thread all the while: no timer, promise or signal handler runs in it. In the main thread a signal without a handler ends the process, as SIGTERM and
   * SIGINT do everywhere; one with a handler is kept for it until this returns. It ends by `requestShutdown()` or `close()` in the handler, by ShutdownRequested thrown there, or by `stop`; then the address is
   * free, and the clients have been told. Spins for `spinMicros` after each message, then sleeps.
   *
   * Throws TypeError on bad arguments and when the server was asked to listen or has a subscriber of `requests$`, ERR_IPC_CLOSED when
   * it was closed, and what `listen()` rejects with.
   *
   * @example
   * const stop = new Int32Array(workerData.stop); // elsewhere: Atomics.store(stop, 0, 1)
   * createShmServer('shm:checksums').runSync((_clientId, request) => sha256(request), { stop });
   */
  runSync(handler: SyncHandler, options?: RunSyncOptions): void;
}
