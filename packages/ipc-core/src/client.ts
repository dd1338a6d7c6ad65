/** The one implementation of {@link IpcClient}, on any transport's channels. */
import { filter, firstValueFrom, Observable, ReplaySubject, Subject } from 'rxjs';
import { Call, ExchangeCall, OneWayCall, RepeatedCall, StreamCall } from './call.ts';
import type { Connect } from './channel.ts';
import { Connection, type ConnectionHost } from './connection.ts';
import type {
  Bytes,
  CallOptions,
  ClientState,
  ClientStats,
  DisconnectReason,
  IpcClient,
  IpcReply,
  ItemStream,
  RequestClaim,
} from './contract.ts';
import { expectCapacity } from './data-lane.ts';
import { Deque } from './deque.ts';
import { HybridStream, iterateLazily } from './item-stream.ts';
import { IpcError, MessageTooLargeError, PeerGoneError, type IpcErrorCode } from './errors.ts';
import { KIND_ONE_WAY } from './frame.ts';
import {
  expectBytes,
  expectTimeout,
  helloOfClient,
  resolveClientOptions,
  show,
  SMALLER,
  type ClientOptions,
  type ClientSettings,
} from './options.ts';
import { ReassemblyBudget } from './reassembly-budget.ts';
import { claimRequest, secondClaim, type ClaimHost, type OpenRequestClaim } from './request-claim.ts';
import { isObservable } from './stream-sender.ts';
import type { MakesRequesters, Requester } from './requester.ts';
import type { MakeConnect } from './transport.ts';
import { Waiters } from './waiters.ts';

/**
 * Makes a client on a transport. Transports call it in their `createXClient`; others do not need it.
 *
 * @example
 * export const createSocketClient = (address, options) => createClient(socketConnect(address), options);
 */
export function createClient(makeConnect: MakeConnect, options?: ClientOptions): IpcClient {
  return new Client(makeConnect, resolveClientOptions(options));
}

/** Trying again does not help against these. */
const FINAL_CODES: ReadonlySet<IpcErrorCode> = new Set<IpcErrorCode>([
  'ERR_IPC_VERSION',
  'ERR_IPC_UNAUTHORIZED',
  'ERR_IPC_UNSUPPORTED',
  'ERR_IPC_PROTOCOL',
  'ERR_IPC_NATIVE_UNAVAILABLE',
]);

const DONE: Promise<void> = Promise.resolve();
const NO_BYTES: Uint8Array = new Uint8Array(0);

class Client implements IpcClient, MakesRequesters, ClaimHost, ConnectionHost {
  readonly settings: ClientSettings;
  readonly budget: ReassemblyBudget;
  readonly #connect: Connect;
  #state: ClientState = 'idle';
  readonly #states = new ReplaySubject<ClientState>(1);
  /** The connection that takes new calls. */
  #connection: Connection | undefined;
  /** Connections whose server said goaway, while their calls finish. */
  readonly #draining = new Set<Connection>();
  #connecting: Promise<void> | undefined;
  #abortConnect = new AbortController();
  /** Calls without a connection, in order. */
  readonly #waiting = new Deque<Call>();
  #pending = 0;
  readonly #oneWays = new Set<Call>();
  #onOneWaysDone: (() => void) | undefined;
  #claim: OpenRequestClaim | undefined;
  readonly #pushes = new Deque<Bytes>();
  #pushBytes = 0;
  #droppedPushes = 0;
  #reconnects = 0;
  readonly #messages = new Subject<Bytes>();
  readonly #pushWaiters = new Waiters();
  #retryTimer: NodeJS.Timeout | undefined;
  #attempt = 0;
  #closing: Promise<void> | undefined;
  /** Why calls are refused, once the client is closed or closing. */
  #over: IpcError | undefined;
  #referenced = true;

  constructor(makeConnect: MakeConnect, settings: ClientSettings) {
    this.settings = settings;
    this.budget = new ReassemblyBudget(settings.maxReassemblyBytes);
    this.#connect = makeConnect({ settings, hello: helloOfClient(settings) });
    this.#states.next('idle');
  }

  readonly state$: Observable<ClientState> = this.#states.asObservable();

  readonly messages$: Observable<Bytes> = new Observable<Bytes>((subscriber) => {
    const subscription = this.#messages.subscribe(subscriber);
    // What waited in the queue goes to the first who asks.
    for (let data = this.#takePush(); data !== undefined; data = this.#takePush()) this.#messages.next(data);
    return subscription;
  });

  get stats(): ClientStats {
    return {
      pending: this.#pending + (this.#connection?.givenUpCalls ?? 0),
      droppedPushes: this.#droppedPushes,
      reconnects: this.#reconnects,
    };
  }

  connect(): Promise<void> {
    if (this.#over !== undefined) return Promise.reject(this.#over);
    if (this.#state === 'connected') return DONE;
    if (this.#state === 'draining') return Promise.reject(refused());
    if (this.#state === 'reconnecting') return this.#reconnected();
    if (this.#connecting === undefined) {
      this.#setState('connecting');
      this.#connecting = this.#open().catch((error: unknown) => {
        this.#connecting = undefined;
        if (this.#over === undefined) {
          this.#setState('idle');
          this.#failWaiting(error);
        }
        throw this.#over ?? error;
      });
      // Whoever called only to start it is told by the calls.
      this.#connecting.catch(() => undefined);
    }
    return this.#connecting;
  }

  request(data: Uint8Array, options?: CallOptions): Promise<Bytes> {
    // First of all the bytes: promise and call are made while the server works.
    const id = options === undefined ? this.#sendAhead(data) : -1;
    return new Promise((resolve, reject) => {
      if (id < 0) this.#submit(new Call(this, data, resolve, reject), options);
      else this.#connection?.opened(new Call(this, NO_BYTES, resolve, reject), id);
    });
  }

  /** Sends a request without options at once, and counts it. Below 0, and nothing has happened: it goes the usual way. */
  #sendAhead(data: Uint8Array): number {
    const connection = this.#connection;
    if (connection === undefined || !(data instanceof Uint8Array)) return -1;
    if (this.#pending + connection.givenUpCalls >= this.settings.maxPending) return -1;
    const id = connection.sendAhead(data);
    if (id >= 0) this.#pending++;
    return id;
  }

  requester(onReply: (reply: Bytes) => void, onError: (error: unknown) => void): Requester {
    return new RepeatedCall(this, onReply, onError);
  }

  exchange(data: Uint8Array, options?: CallOptions): Promise<IpcReply> {
    return new Promise((resolve, reject) => {
      this.#submit(new ExchangeCall(this, data, resolve, reject), options);
    });
  }

  request$(data: Uint8Array, options?: CallOptions): ItemStream {
    return this.#stream(data, undefined, options);
  }

  duplex$(data: Uint8Array, input$: Observable<Uint8Array>, options?: CallOptions): ItemStream {
    if (!isObservable(input$)) throw new TypeError(`Expected \`input$\` to be an Observable, got ${show(input$)}`);
    return this.#stream(data, input$, options);
  }

  claim(payloadBytes: number, options?: CallOptions): RequestClaim | undefined {
    if (this.#claim?.open === true) throw secondClaim();
    this.#claim = claimRequest(this, this.#connection, payloadBytes, options);
    return this.#claim;
  }

  send(data: Uint8Array, options?: CallOptions): Promise<void> {
    const connection = this.#connection;
    if (
      options === undefined &&
      connection !== undefined &&
      !connection.plain &&
      data instanceof Uint8Array &&
      data.length <= connection.maxMessageBytes &&
      connection.lane.trySend(KIND_ONE_WAY, 0, data)
    ) {
      return DONE;
    }
    return new Promise((resolve, reject) => {
      this.#submitOneWay(new OneWayCall(this, data, resolve, reject), options);
    });
  }

  trySend(data: Uint8Array): boolean {
    expectBytes('data', data);
    const connection = this.#connection;
    if (connection === undefined) return false;
    if (connection.plain) {
      throw new IpcError(
        'ERR_IPC_UNSUPPORTED',
        'Plain framing has no one-way messages: connect with framing "spanwire"',
      );
    }
    if (data.length > connection.maxMessageBytes) {
      throw new MessageTooLargeError(data.length, connection.maxMessageBytes, SMALLER);
    }
    if (connection.lane.trySend(KIND_ONE_WAY, 0, data)) return true;
    // A message that never fits one frame is taken when nobody waits; of it a copy goes out as room comes.
    if (!connection.lane.idle || data.length <= connection.lane.pieceBytes) return false;
    this.#submitOneWay(new OneWayCall(this, data, ignore, ignore), undefined);
    return true;
  }

  async receive(timeoutMs?: number): Promise<Bytes | undefined> {
    expectTimeout('timeoutMs', timeoutMs);
    return this.#pushWaiters.wait(
      () => this.#takePush(),
      timeoutMs,
      () => this.#state === 'closed',
    );
  }

  close(): Promise<void> {
    return (this.#closing ??= this.#close());
  }

  ref(): void {
    this.#referenced = true;
    this.#connection?.channel.ref();
    this.#retryTimer?.ref();
  }

  unref(): void {
    this.#referenced = false;
    this.#connection?.channel.unref();
    this.#retryTimer?.unref();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  // ---- calls ----

  #stream(data: Uint8Array, input$: Observable<Uint8Array> | undefined, options?: CallOptions): ItemStream {
    expectBytes('data', data);
    const { streamWindowBytes } = this.settings;
    return new HybridStream(
      (subscriber) => {
        const call = new StreamCall(this, data, input$, streamWindowBytes);
        const leave = call.receiver.subscribe(subscriber);
        this.#submit(call, options);
        return leave;
      },
      () =>
        iterateLazily(() => {
          const call = new StreamCall(this, data, input$, streamWindowBytes);
          const items = call.receiver.iterate();
          this.#submit(call, options);
          return items;
        }),
    );
  }

  #submitOneWay(call: OneWayCall, options: CallOptions | undefined): void {
    this.#oneWays.add(call);
    this.#submit(call, options);
  }

  #submit(call: Call, options: CallOptions | undefined): void {
    this.#pending++;
    const connection = this.#connection;
    if (!(call.payload instanceof Uint8Array)) {
      call.fail(new TypeError(`Expected \`data\` to be a Uint8Array, got ${show(call.payload)}`));
      return;
    }
    if (this.#pending + (connection?.givenUpCalls ?? 0) > this.settings.maxPending) {
      call.fail(this.#overloaded());
      return;
    }
    if (options !== undefined) {
      try {
        expectTimeout('timeoutMs', options.timeoutMs);
        options.signal?.throwIfAborted();
        call.arm(options);
      } catch (error) {
        call.fail(error);
        return;
      }
    }
    if (connection === undefined) {
      this.#waitForConnection(call);
      return;
    }
    if (connection.plain || call.payload.length > connection.maxMessageBytes) {
      const unfit = connection.unfit(call);
      if (unfit !== undefined) {
        call.fail(unfit);
        return;
      }
    }
    if (options === undefined && connection.trySend(call)) return;
    connection.push(call);
    // What could not leave at once is copied: the caller may reuse its bytes.
    if (!call.settled) call.keepPayload();
  }

  #waitForConnection(call: Call): void {
    if (this.#over !== undefined) call.fail(this.#over);
    else if (this.#state === 'draining') call.fail(refused());
    else if (this.#state === 'idle') {
      call.fail(new IpcError('ERR_IPC_CLOSED', 'Expected a client that is connected, got one before connect()'));
    } else {
      call.keepPayload();
      this.#waiting.push(call);
    }
  }

  // ---- for Call ----

  onSettled(call: Call): void {
    this.#pending--;
    if (call.connection === undefined) this.#waiting.remove(call);
    if (call.kind === KIND_ONE_WAY) this.#onOneWaySettled(call);
  }

  #onOneWaySettled(call: Call): void {
    if (this.#oneWays.delete(call) && this.#oneWays.size === 0) this.#onOneWaysDone?.();
  }

  // ---- for claims, and calls that are used again ----

  get over(): IpcError | undefined {
    return this.#over;
  }

  get overload(): IpcError | undefined {
    return this.stats.pending >= this.settings.maxPending ? this.#overloaded() : undefined;
  }

  count(): void {
    this.#pending++;
  }

  submit(call: Call, options: CallOptions | undefined): void {
    this.#submit(call, options);
  }

  trySubmit(call: Call): boolean {
    const id = this.#sendAhead(call.payload);
    if (id < 0) return false;
    this.#connection?.opened(call, id);
    call.sent();
    return true;
  }

  #overloaded(): IpcError {
    const message = `Expected at most ${this.settings.maxPending} pending calls (maxPending), got one more`;
    return new IpcError('ERR_IPC_OVERLOADED', message);
  }

  // ---- for Connection ----

  onPush(data: Bytes): void {
    if (this.#pushes.length === 0 && this.#messages.observed && !this.#pushWaiters.any) {
      this.#messages.next(data);
      return;
    }
    const cost = Math.max(64, data.length);
    if (this.#pushBytes + cost > this.settings.windowBytes) {
      this.#droppedPushes++;
      return;
    }
    this.#pushBytes += cost;
    this.#pushes.push(data);
    this.#pushWaiters.wake();
  }

  onGoaway(connection: Connection): void {
    if (connection !== this.#connection) return;
    if (this.settings.reconnect === false) {
      this.#setState('draining');
      this.#connection = undefined;
      this.#draining.add(connection);
      for (const call of connection.drain()) call.fail(refused());
      return;
    }
    this.#connection = undefined;
    this.#draining.add(connection);
    this.#putBack(connection.drain());
    this.#reconnect(0);
  }

  onDrained(connection: Connection): void {
    void connection.close(serverLeft());
  }

  onGone(connection: Connection, reason: DisconnectReason, error: Error | undefined, unsent: Call[]): void {
    const current = connection === this.#connection;
    this.#draining.delete(connection);
    if (current) this.#connection = undefined;
    if (this.#over !== undefined) {
      for (const call of unsent) call.fail(this.#over);
    } else if (!current) {
      // It was draining. Without a reconnect that was the last one.
      if (this.#state === 'draining') this.#end(serverLeft());
    } else if (this.settings.reconnect === false) {
      const failure = error instanceof IpcError ? error : new PeerGoneError(`The server left: ${reason}`);
      for (const call of unsent) call.fail(failure);
      this.#end(failure);
    } else {
      this.#putBack(unsent);
      this.#reconnect(undefined);
    }
  }

  // ---- connecting ----

  async #open(): Promise<void> {
    const channel = await this.#connect(this.#abortConnect.signal);
    if (this.#over !== undefined) {
      await channel.close('closed');
      throw this.#over;
    }
    expectCapacity(channel);
    const connection = new Connection(this, channel);
    if (!this.#referenced) channel.unref();
    // Those who waited go first: the connection is told to nobody before.
    for (let call = this.#waiting.shift(); call !== undefined; call = this.#waiting.shift()) connection.push(call);
    if (this.#over !== undefined) {
      await connection.close(this.#over);
      throw this.#over;
    }
    this.#connecting = undefined;
    this.#attempt = 0;
    this.#connection = connection;
    this.#setState('connected');
    connection.start();
  }

  /** Somebody asks for the connection that is being made again anyway. */
  async #reconnected(): Promise<void> {
    await firstValueFrom(this.#states.pipe(filter((state) => state !== 'reconnecting')), { defaultValue: undefined });
    if (this.#over !== undefined) throw this.#over;
  }

  /** Connects again after `delayMs`, or after the next of the policy's delays. */
  #reconnect(delayMs: number | undefined): void {
    if (this.settings.reconnect === false) return;
    this.#setState('reconnecting');
    const { delaysMs } = this.settings.reconnect;
    const wait = delayMs ?? delaysMs[Math.min(this.#attempt++, delaysMs.length - 1)];
    this.#retryTimer = setTimeout(() => {
      this.#open().then(
        () => {
          this.#reconnects++;
        },
        (error: unknown) => {
          if (this.#over !== undefined) return;
          if (error instanceof IpcError && FINAL_CODES.has(error.code)) {
            this.#failWaiting(error);
            this.#end(error);
          } else this.#reconnect(undefined);
        },
      );
    }, wait);
    if (!this.#referenced) this.#retryTimer.unref();
  }

  /** Calls of which no byte was sent wait again, before all others. */
  #putBack(unsent: Call[]): void {
    for (const call of unsent.reverse()) this.#waiting.unshift(call);
  }

  #failWaiting(error: unknown): void {
    for (const call of this.#waiting.drain()) call.fail(error);
  }

  // ---- pushes ----

  #takePush(): Bytes | undefined {
    const data = this.#pushes.shift();
    if (data !== undefined) this.#pushBytes -= Math.max(64, data.length);
    return data;
  }

  // ---- the end ----

  async #close(): Promise<void> {
    if (this.#state === 'closed') return;
    const error = new IpcError('ERR_IPC_CLOSED', 'The client was closed');
    this.#over = error;
    clearTimeout(this.#retryTimer);
    this.#abortConnect.abort(error);
    this.#failWaiting(error);
    const connection = this.#connection;
    if (connection !== undefined && this.#oneWays.size > 0) await this.#oneWaysDone();
    const connections = connection === undefined ? [...this.#draining] : [connection, ...this.#draining];
    await Promise.all(connections.map((each) => each.close(error)));
    this.#connection = undefined;
    this.#end(error);
  }

  /** One-way messages that wait for room are sent before the connection closes, within `graceMs`. */
  #oneWaysDone(): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, this.settings.graceMs);
      this.#onOneWaysDone = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  #end(error: IpcError): void {
    this.#over ??= error;
    if (this.#state === 'closed') return;
    this.#setState('closed');
    this.#states.complete();
    this.#messages.complete();
    this.#pushWaiters.wake();
  }

  #setState(state: ClientState): void {
    if (state === this.#state) return;
    this.#state = state;
    this.#states.next(state);
  }
}

function refused(): IpcError {
  return new IpcError('ERR_IPC_REFUSED', 'The server is shutting down and never started this call');
}

function serverLeft(): IpcError {
  return new PeerGoneError('The server shut down');
}

function ignore(): void {}
