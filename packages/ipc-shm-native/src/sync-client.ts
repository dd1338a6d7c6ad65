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
import type { ShmChannel } from './shm-channel.ts';
import { connectSync } from './sync-connect.ts';
import type { ShmSyncClient, SyncCallOptions } from './sync.ts';

const NO_BYTES: Bytes = new Uint8Array(0);

export class SyncClient implements ShmSyncClient, ConnectionHost, CallOwner {
  readonly settings: ClientSettings;
  readonly budget: ReassemblyBudget;
  readonly #pump: Pump;
  readonly #channel: ShmChannel;
  readonly #connection: Connection;
  /** What the next call goes the short way with. */
  #alone: Call | undefined;
  /** What came of the call that is under way. */
  #answer: Bytes | undefined;
  #failure: { readonly error: unknown } | undefined;
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
    // While a call waits, which is whenever anything does.
    pump.expect(1);
    this.#channel = channel;
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
    const deadlineMs = timeoutMs === undefined ? Infinity : performance.now() + timeoutMs;
    const alone = (this.#alone ??= this.#prepare());
    const pump = this.#pump;
    const channel = this.#channel;
    if (data.length <= connection.lane.pieceBytes && connection.lane.idle && channel.sendAlone(alone.id, data)) {
      channel.giveBack();
      const count = pump.waitForBatch(timeoutMs ?? Infinity);
      if (count === 1) {
        const { batch } = pump;
        const answer = channel.takeAlone(alone.id, batch[0] ?? 0, batch[1] ?? 0, batch[2] ?? 0, batch[3] ?? 0);
        if (answer !== undefined) return answer;
      }
      // Something else came: from here on it is a call like any other.
      this.#alone = undefined;
      pump.handleWaited(count);
      return this.#finish(alone, deadlineMs, timeoutMs);
    }
    channel.giveBack();
    const call = this.#newCall(data);
    if (!connection.trySend(call)) connection.push(call);
    return this.#finish(call, deadlineMs, timeoutMs);
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

  /** The call that is sent next, if it can go the short way: it has its id already, for what may come instead of its answer. */
  #prepare(): Call {
    const call = this.#newCall(NO_BYTES);
    this.#connection.reserve(call);
    return call;
  }

  #newCall(data: Uint8Array): Call {
    return new Call(
      this,
      data,
      (answer) => {
        this.#answer = answer;
      },
      (error) => {
        this.#failure = { error };
      },
    );
  }

  #finish(call: Call, deadlineMs: number, timeoutMs: number | undefined): Bytes {
    const pump = this.#pump;
    while (!call.settled) {
      const remainingMs = timeoutMs === undefined ? Infinity : deadlineMs - performance.now();
      if (remainingMs > 0) pump.wait(Math.ceil(remainingMs));
      else this.#giveUp(call, timeoutMs ?? 0);
    }
    const answer = this.#answer;
    const failure = this.#failure;
    this.#answer = undefined;
    this.#failure = undefined;
    if (failure !== undefined) throw failure.error;
    return answer ?? NO_BYTES;
  }

  #giveUp(call: Call, timeoutMs: number): void {
    // What is there already still counts.
    this.#pump.wait(0);
    call.giveUp(new TimeoutError(`Expected an answer within ${timeoutMs} ms, got none`, timeoutMs));
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

function refused(): IpcError {
  return new IpcError('ERR_IPC_REFUSED', 'The server is shutting down and never started this call');
}
