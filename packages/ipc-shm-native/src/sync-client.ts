/** The blocking client of our own layout: the core's connection, with one call under way at a time. */
import {
  Connection,
  expectBytes,
  expectTimeout,
  helloOfClient,
  IpcError,
  MessageTooLargeError,
  PeerGoneError,
  ReassemblyBudget,
  resolveClientOptions,
  SMALLER,
  TimeoutError,
  type Bytes,
  Call,
  type CallOwner,
  type ClientSettings,
  type ConnectionHost,
  type DisconnectReason,
} from '@spanwire/ipc-core';
import type { Rendezvous } from './address.ts';
import { shmSettings, type ShmSyncClientOptions } from './options.ts';
import type { Pump } from './pump.ts';
import { connectSync } from './sync-connect.ts';
import type { ShmSyncClient, SyncCallOptions } from './sync.ts';

export class SyncClient implements ShmSyncClient, ConnectionHost, CallOwner {
  readonly settings: ClientSettings;
  readonly budget: ReassemblyBudget;
  readonly #pump: Pump;
  readonly #connection: Connection;
  /** Why calls are refused. */
  #over: IpcError | undefined;

  /** Blocks until the server has taken the client in, `handshakeTimeoutMs` at most. Throws {@link IpcError}. */
  constructor(rendezvous: Rendezvous, options: ShmSyncClientOptions) {
    const { maxMessageBytes, handshakeTimeoutMs, hello } = options;
    const settings = resolveClientOptions({ maxMessageBytes, handshakeTimeoutMs, hello });
    this.settings = settings;
    this.budget = new ReassemblyBudget(settings.maxReassemblyBytes);
    const { pump, channel } = connectSync({
      rendezvous,
      settings: shmSettings(options),
      // Between calls nobody reads.
      hello: { ...helloOfClient(settings), pushes: false, streams: false },
      handshakeTimeoutMs: settings.handshakeTimeoutMs,
    });
    this.#pump = pump;
    this.#connection = new Connection(this, channel);
    this.#connection.start();
  }

  call(data: Uint8Array, options?: SyncCallOptions): Bytes {
    expectBytes('data', data);
    const timeoutMs = options === undefined ? undefined : expectTimeout('timeoutMs', options.timeoutMs);
    if (this.#over !== undefined) throw this.#over;
    const connection = this.#connection;
    if (data.length > connection.maxMessageBytes) {
      throw new MessageTooLargeError(data.length, connection.maxMessageBytes, SMALLER);
    }
    const outcome: Outcome = { answer: undefined, failure: undefined };
    const call = new Call(
      this,
      data,
      (answer) => {
        outcome.answer = answer;
      },
      (error) => {
        outcome.failure = { error };
      },
    );
    if (!connection.trySend(call)) connection.push(call);
    this.#wait(call, timeoutMs);
    if (outcome.failure !== undefined) throw outcome.failure.error;
    return outcome.answer as Bytes;
  }

  close(): void {
    const error = new IpcError('ERR_IPC_CLOSED', 'The client was closed');
    this.#over ??= error;
    const pump = this.#pump;
    void this.#connection.close(error);
    while (pump.timers.hasWork) pump.timers.runSoon();
    pump.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #wait(call: Call, timeoutMs: number | undefined): void {
    const pump = this.#pump;
    if (timeoutMs === undefined) {
      while (!call.settled) pump.wait(Infinity);
      return;
    }
    const deadlineMs = performance.now() + timeoutMs;
    let remainingMs = timeoutMs;
    while (!call.settled) {
      pump.wait(Math.ceil(remainingMs));
      if (call.settled) return;
      remainingMs = deadlineMs - performance.now();
      if (remainingMs <= 0) {
        call.giveUp(new TimeoutError(`Expected an answer within ${timeoutMs} ms, got none`, timeoutMs));
      }
    }
  }

  // ---- for Call and Connection ----

  onSettled(): void {}

  onPush(): void {}

  onGoaway(connection: Connection): void {
    this.#over ??= refused();
    for (const call of connection.drain()) call.fail(refused());
  }

  onDrained(connection: Connection): void {
    void connection.close(new PeerGoneError('The server shut down'));
  }

  onGone(_connection: Connection, reason: DisconnectReason, error: Error | undefined, unsent: Call[]): void {
    const failure = error instanceof IpcError ? error : new PeerGoneError(`The server left: ${reason}`);
    this.#over ??= failure;
    for (const call of unsent) call.fail(failure);
  }
}

interface Outcome {
  answer: Bytes | undefined;
  failure: { readonly error: unknown } | undefined;
}

function refused(): IpcError {
  return new IpcError('ERR_IPC_REFUSED', 'The server is shutting down and never started this call');
}
