/** The one implementation of {@link IpcServer}, on any transport's listener. */
import { Observable, Subject, type Observer, type Subscriber, type Subscription } from 'rxjs';
import { answer } from './answer.ts';
import type { Channel, Listener } from './channel.ts';
import type {
  ClientEvent,
  DisconnectReason,
  HandleOptions,
  Handler,
  IpcMessage,
  IpcRequest,
  IpcResponse,
  IpcServer,
  ListenOptions,
  ServerStats,
  ShutdownOptions,
} from './contract.ts';
import { expectCapacity } from './data-lane.ts';
import { IpcError } from './errors.ts';
import { expectBytes, expectFunction, expectTimeout, helloOfServer, resolveServerOptions, show } from './options.ts';
import type { ServerOptions, ServerSettings } from './options.ts';
import { ReassemblyBudget } from './reassembly-budget.ts';
import { RequestTable } from './request-table.ts';
import { ServerClient, type Counters, type ServerHost } from './server-client.ts';
import type { ServerRequest } from './server-request.ts';
import { loopTimers, type Timer, type Timers } from './timers.ts';
import type { MakeListener } from './transport.ts';
import { Waiters } from './waiters.ts';
import { stackOfReceiver } from './watched-spans.ts';

/**
 * Makes a server on a transport. Transports call it in their `createXServer`; others do not need it.
 *
 * @example
 * export const createSocketServer = (address, options) => createServer(socketListener(address), options);
 */
export function createServer(makeListener: MakeListener, options?: ServerOptions): IpcServer {
  return new Server(makeListener, resolveServerOptions(options));
}

class Server implements IpcServer, ServerHost {
  readonly settings: ServerSettings;
  readonly timers: Timers;
  readonly budget: ReassemblyBudget;
  readonly table = new RequestTable();
  readonly counters: Counters = {
    requests: 0,
    responses: 0,
    messages: 0,
    droppedAnswers: 0,
    droppedPushes: 0,
    refused: 0,
    bytesIn: 0,
    bytesOut: 0,
  };
  reading = false;
  draining = false;
  consumer: Subscriber<IpcRequest> | undefined;
  consumerStack: string | undefined;
  pulling = false;
  current: ServerRequest | undefined;

  readonly #listener: Listener;
  readonly #clients = new Map<number, ServerClient>();
  /** The client answered last: answers come in runs. */
  #lastClient: ServerClient | undefined;
  readonly #events = new Subject<ClientEvent>();
  readonly #connected = new Map<number, ClientEvent>();
  readonly #messages = new Subject<IpcMessage>();
  #nextClientId = 1;
  #nextRequestId = 1;
  #state: 'idle' | 'listening' | 'closed' = 'idle';
  #failure: { readonly error: unknown } | undefined;
  #graceTimer: Timer | undefined;
  #stallTimer: Timer | undefined;
  readonly #stuckSince = new Map<ServerClient, number>();
  readonly #closing: Array<Promise<void>> = [];
  #listening: Promise<void> | undefined;
  #ended = false;
  #resolveClosed!: () => void;
  #rejectClosed!: (error: unknown) => void;
  readonly closed: Promise<void> = new Promise((resolve, reject) => {
    this.#resolveClosed = resolve;
    this.#rejectClosed = reject;
  });
  /** Clients not yet reported by `accept`. */
  readonly #unreported: number[] = [];
  readonly #acceptWaiters = new Waiters();
  readonly #dataWaiters = new Waiters();
  /** Where the next look for a client with a request begins. */
  #roundRobin = 0;
  #referenced = true;

  constructor(makeListener: MakeListener, settings: ServerSettings) {
    this.settings = settings;
    this.budget = new ReassemblyBudget(settings.maxReassemblyBytes);
    this.#listener = makeListener({ settings, hello: helloOfServer(settings), budget: this.budget });
    this.timers = this.#listener.timers ?? loopTimers;
    this.#listener.admit = () => this.#admit();
    this.#listener.onChannel = (channel) => this.#onChannel(channel);
    this.#listener.onTakeover = () => this.requestShutdown();
    this.#listener.onError = (error) => this.#fail(error);
    // Whoever does not look at `closed` must not be ended by its rejection.
    this.closed.catch(() => undefined);
  }

  readonly requests$: Observable<IpcRequest> = new Observable<IpcRequest>((subscriber) => {
    if (this.pulling) {
      subscriber.error(new TypeError('Expected requests to be pulled or subscribed to, got requests$ after a pull'));
      return undefined;
    }
    if (this.consumer !== undefined) {
      subscriber.error(new TypeError('Expected one subscriber of requests$, got a second one: use share() for more'));
      return undefined;
    }
    if (this.draining || this.#state === 'closed') {
      subscriber.complete();
      return undefined;
    }
    this.consumer = subscriber;
    this.consumerStack = stackOfReceiver();
    this.#read();
    return () => {
      if (this.consumer === subscriber) this.consumer = undefined;
    };
  });

  readonly responses: Observer<IpcResponse> = {
    next: (response) => {
      try {
        this.answer(response);
      } catch (error) {
        this.#fail(error);
      }
    },
    error: (error: unknown) => this.#fail(error),
    complete: () => this.requestShutdown(),
  };

  readonly messages$: Observable<IpcMessage> = new Observable<IpcMessage>((subscriber) => {
    const subscription = this.#messages.subscribe(subscriber);
    this.#read();
    return subscription;
  });

  readonly clients$: Observable<ClientEvent> = new Observable<ClientEvent>((subscriber) => {
    for (const event of this.#connected.values()) subscriber.next(event);
    return this.#events.subscribe(subscriber);
  });

  get stats(): ServerStats {
    this.bookCurrent();
    return { ...this.counters, clients: this.#connected.size, openRequests: this.table.size };
  }

  listen(options: ListenOptions = {}): Promise<void> {
    if (this.#listening !== undefined) {
      return Promise.reject(new TypeError('Expected listen() to be called once, got a second call'));
    }
    if (this.#state === 'closed' || this.draining) return Promise.reject(closedError());
    this.#state = 'listening';
    const listening = this.#listener.listen({ takeover: options.takeover === true }).then(
      async () => {
        // Closed in the meantime: the address must not stay behind.
        if (this.#ended || this.draining) await this.#listener.close();
      },
      (error: unknown) => {
        this.#state = 'idle';
        this.#listening = undefined;
        throw error;
      },
    );
    this.#listening = listening;
    if (!this.#referenced) this.#listener.unref();
    return listening;
  }

  send(clientId: number, data: Uint8Array): boolean {
    expectBytes('data', data);
    const client = this.#clients.get(clientId);
    if (client === undefined || client.gone) {
      this.#expectKnown(clientId);
      this.counters.droppedPushes++;
      return false;
    }
    if (client.channel.framing === 'plain') {
      throw new IpcError(
        'ERR_IPC_UNSUPPORTED',
        'Plain framing has no pushes: expected a Spanwire client, got a plain one',
      );
    }
    const taken = client.push(data);
    if (!taken) this.counters.droppedPushes++;
    return taken;
  }

  broadcast(data: Uint8Array): number {
    expectBytes('data', data);
    let taken = 0;
    for (const client of this.#clients.values()) {
      const hello = client.channel.hello;
      // One client's limit is not a reason to keep the message from the others.
      if (client.gone || hello === undefined || !hello.pushes || data.length > client.maxMessageBytes) continue;
      if (client.push(data)) taken++;
      else this.counters.droppedPushes++;
    }
    return taken;
  }

  requestShutdown(options: ShutdownOptions = {}): void {
    const graceMs = expectTimeout('graceMs', options.graceMs) ?? this.settings.graceMs;
    // A pipeline completes in the course of a shutdown: that asks for nothing new.
    if (this.#ended || (this.draining && options.graceMs === undefined)) return;
    if (!this.draining) {
      this.draining = true;
      this.#closeListener();
      for (const client of this.#clients.values()) client.beginShutdown();
      this.#completeStreams();
    }
    this.#graceTimer?.cancel();
    this.#graceTimer = this.timers.after(graceMs, () => this.#endGrace());
    for (const client of this.#clients.values()) this.onProgress(client);
    this.#endWhenEmpty();
  }

  async close(): Promise<void> {
    if (!this.#ended) {
      this.requestShutdown({ graceMs: 0 });
      this.#endGrace();
    }
    // A failed pipeline is told by `closed`, to those who ask there.
    await this.closed.catch(() => undefined);
  }

  respond(handler: Handler, options?: HandleOptions): Subscription {
    return this.requests$.pipe(answer(handler, options)).subscribe(this.responses);
  }

  async run(handler: Handler, options?: HandleOptions): Promise<void> {
    expectFunction('handler', handler);
    if (this.#state !== 'closed') {
      if (this.#listening === undefined) await this.listen();
      else await this.#listening;
      this.respond(handler, options);
    }
    await this.closed;
  }

  // ---- pull ----

  async waitForData(timeoutMs?: number): Promise<number | undefined> {
    expectTimeout('timeoutMs', timeoutMs);
    this.#pull();
    return this.#dataWaiters.wait(
      () => this.#nextWithRequest(),
      timeoutMs,
      () => this.draining || this.#ended,
    );
  }

  receive(clientId: number): IpcRequest | undefined {
    this.#pull();
    const client = this.#clients.get(clientId);
    if (client === undefined) {
      this.#expectKnown(clientId);
      return undefined;
    }
    return client.receive();
  }

  async accept(timeoutMs?: number): Promise<number | undefined> {
    expectTimeout('timeoutMs', timeoutMs);
    return this.#acceptWaiters.wait(
      () => this.#unreported.shift(),
      timeoutMs,
      () => this.draining || this.#ended,
    );
  }

  poll(): number {
    if (this.consumer === undefined && !this.pulling) this.#pull();
    this.#listener.poll?.();
    let waiting = 0;
    for (const client of this.#clients.values()) {
      client.channel.poll?.();
      waiting += client.waitingRequests;
    }
    return waiting;
  }

  ref(): void {
    this.#referenced = true;
    this.#listener.ref();
    for (const client of this.#clients.values()) client.channel.ref();
  }

  unref(): void {
    this.#referenced = false;
    this.#listener.unref();
    for (const client of this.#clients.values()) client.channel.unref();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  // ---- for ServerClient ----

  nextRequestId(): number {
    return this.#nextRequestId++;
  }

  deliverMessage(message: IpcMessage): void {
    this.#messages.next(message);
  }

  answer(response: IpcResponse): boolean {
    return this.#answerCurrent(response) || this.#answerAny(response);
  }

  /**
   * The way of most answers: bytes, for the request that is being delivered. False, and nothing has happened: it is another kind of answer. Short,
   * so that V8 makes one function of it and of what it calls.
   */
  #answerCurrent(response: IpcResponse): boolean {
    const request = this.current;
    return (
      request !== undefined &&
      typeof response === 'object' &&
      response !== null &&
      response.requestId === request.requestId &&
      response.clientId === request.clientId &&
      response.data instanceof Uint8Array &&
      response.error === undefined &&
      response.items === undefined &&
      request.client.answerAtOnce(request, response.data)
    );
  }

  #answerAny(response: IpcResponse): boolean {
    expectAnswer(response);
    const { clientId, requestId } = response;
    const last = this.#lastClient;
    const client = last !== undefined && last.clientId === clientId ? last : this.#clients.get(clientId);
    if (client === undefined || client.gone) {
      this.#expectKnown(clientId);
      this.counters.droppedAnswers++;
      return false;
    }
    this.#lastClient = client;
    let request = this.current;
    if (request !== undefined && request.requestId === requestId && request.clientId === clientId) {
      return client.answer(request, response);
    }
    if (requestId === undefined) {
      this.bookCurrent();
      request = client.onlyOpen();
      if (request === undefined) {
        throw new TypeError(
          `Expected \`requestId\`, since client ${clientId} has ${client.openRequests} open requests, got none`,
        );
      }
    } else {
      request = this.table.get(requestId);
      if (request === undefined) {
        if (!(Number.isInteger(requestId) && requestId > 0 && requestId < this.#nextRequestId)) {
          throw new TypeError(`Expected \`requestId\` to be one of a request of this server, got ${show(requestId)}`);
        }
        this.counters.droppedAnswers++;
        client.claim?.onLateAnswer(requestId);
        return false;
      }
      if (request.clientId !== clientId) {
        throw new TypeError(
          `Expected request ${requestId} to be answered to client ${request.clientId}, got client ${clientId}`,
        );
      }
    }
    return client.answer(request, response);
  }

  bookCurrent(): void {
    const request = this.current;
    if (request === undefined) return;
    this.current = undefined;
    if (!request.over) request.client.book(request);
  }

  onWaiting(_client: ServerClient): void {
    this.#dataWaiters.wake();
  }

  onProgress(client: ServerClient): void {
    if (!this.draining || this.#ended || client.gone || !client.idle) return;
    // A client that knows goaway says when its last request is sent; what came before it was answered or refused.
    const hello = client.channel.hello;
    if (hello !== undefined && hello.pushes && !client.saidGoaway) return;
    this.#closeClient(client);
  }

  onGone(client: ServerClient, reason: DisconnectReason, error: Error | undefined): void {
    const { clientId } = client;
    this.#clients.delete(clientId);
    this.#connected.delete(clientId);
    this.#stuckSince.delete(client);
    if (this.#lastClient === client) this.#lastClient = undefined;
    this.#events.next({ type: 'disconnected', clientId, reason, error });
    this.#endWhenEmpty();
  }

  // ---- clients ----

  #admit(): IpcError | undefined {
    if (this.draining || this.#ended) {
      return new IpcError('ERR_IPC_REFUSED', 'The server is shutting down');
    }
    const { maxClients, maxMemoryBytes, windowBytes, responseWindowBytes } = this.settings;
    if (this.#clients.size >= maxClients) {
      return new IpcError('ERR_IPC_OVERLOADED', `The server has ${maxClients} clients, its maxClients`);
    }
    if ((this.#clients.size + 1) * (windowBytes + responseWindowBytes) > maxMemoryBytes) {
      return new IpcError('ERR_IPC_OVERLOADED', `The server's clients use its maxMemoryBytes of ${maxMemoryBytes}`);
    }
    return undefined;
  }

  #onChannel(channel: Channel): void {
    if (this.draining || this.#ended) {
      void channel.close('shutdown');
      return;
    }
    try {
      expectCapacity(channel);
    } catch {
      return;
    }
    const clientId = this.#nextClientId++;
    const client = new ServerClient(this, channel, clientId);
    this.#clients.set(clientId, client);
    if (!this.#referenced) channel.unref();
    const event: ClientEvent = {
      type: 'connected',
      clientId,
      framing: channel.framing,
      peer: channel.peer,
      hello: channel.hello?.application,
    };
    this.#connected.set(clientId, event);
    this.#watchStalls();
    this.#events.next(event);
    this.#unreported.push(clientId);
    // Nobody may ever call accept: the list must not grow with the clients of a long life.
    if (this.#unreported.length > 2 * this.settings.maxClients) {
      this.#unreported.splice(0, this.#unreported.length, ...this.#unreported.filter((id) => this.#clients.has(id)));
    }
    this.#acceptWaiters.wake();
    client.start();
  }

  #closeClient(client: ServerClient, reason: DisconnectReason = 'shutdown', error?: Error): void {
    const closing = client.close(reason, error).catch(() => undefined);
    this.#closing.push(closing);
    void closing.then(() => {
      const at = this.#closing.indexOf(closing);
      if (at >= 0 && !this.#ended) void this.#closing.splice(at, 1);
    });
  }

  /** Answers to clients that left are dropped; one to a client that never was is a mistake of the pipeline. */
  #expectKnown(clientId: unknown): void {
    if (
      !(typeof clientId === 'number' && Number.isInteger(clientId) && clientId > 0 && clientId < this.#nextClientId)
    ) {
      throw new TypeError(`Expected \`clientId\` to be one of a client of this server, got ${show(clientId)}`);
    }
  }

  #read(): void {
    this.reading = true;
    for (const client of this.#clients.values()) client.pump();
  }

  #pull(): void {
    if (this.consumer !== undefined) {
      throw new TypeError('Expected requests to be pulled or subscribed to, got a pull while requests$ is subscribed');
    }
    if (this.pulling) return;
    this.pulling = true;
    this.#read();
  }

  #nextWithRequest(): number | undefined {
    const ids = [...this.#clients.keys()];
    for (let i = 0; i < ids.length; i++) {
      const id = ids[(this.#roundRobin + i) % ids.length];
      if (id !== undefined && this.#clients.get(id)?.hasRequest === true) {
        this.#roundRobin = (this.#roundRobin + i + 1) % ids.length;
        return id;
      }
    }
    return undefined;
  }

  #watchStalls(): void {
    const { afterMs, action } = this.settings.stalledClient;
    if (action === 'keep' || this.#stallTimer !== undefined) return;
    const everyMs = Math.max(1, Math.floor(afterMs / 4));
    const look = (): void => {
      this.#stallTimer = undefined;
      this.#lookForStalls(afterMs);
      if (this.#clients.size > 0) this.#stallTimer = this.timers.after(everyMs, look, { keepsAlive: false });
    };
    this.#stallTimer = this.timers.after(everyMs, look, { keepsAlive: false });
  }

  #lookForStalls(afterMs: number): void {
    for (const client of this.#clients.values()) {
      if (client.gone || !client.seemsStuck()) {
        this.#stuckSince.delete(client);
        continue;
      }
      const looks = (this.#stuckSince.get(client) ?? 0) + 1;
      this.#stuckSince.set(client, looks);
      if (looks <= 4) continue;
      const message = `The client took no answer, or sent nothing of the rest of its message, for ${afterMs} ms`;
      this.#closeClient(client, 'stalled', new IpcError('ERR_IPC_TIMEOUT', message));
    }
  }

  // ---- the end ----

  #closeListener(): void {
    if (this.#state !== 'listening') return;
    // Where listen() is still under way, it closes what it opened.
    this.#closing.push(this.#listener.close().catch(() => undefined));
  }

  #completeStreams(): void {
    const consumer = this.consumer;
    this.consumer = undefined;
    consumer?.complete();
    this.#dataWaiters.wake();
    this.#acceptWaiters.wake();
  }

  #endGrace(): void {
    this.#graceTimer?.cancel();
    const reason = this.#failure === undefined ? 'shut down before the answer' : 'failed before the answer';
    const error = new IpcError('ERR_IPC_CLOSED', `The server ${reason}`);
    for (const client of this.#clients.values()) {
      client.abortOpen(error);
      this.#closeClient(client);
    }
    this.#endWhenEmpty();
  }

  /** The pipeline broke, or the listener: every client is told, and `closed` rejects. */
  #fail(error: unknown): void {
    if (this.#ended || this.#failure !== undefined) return;
    this.#failure = { error };
    this.requestShutdown({ graceMs: 0 });
    this.#endGrace();
  }

  #endWhenEmpty(): void {
    if (!this.draining || this.#ended) return;
    // Clients whose one-way messages nobody reads are gone all the same.
    for (const client of this.#clients.values()) if (!client.gone || this.reading) return;
    this.#ended = true;
    this.#state = 'closed';
    this.#graceTimer?.cancel();
    this.#stallTimer?.cancel();
    void this.#settled().then(() => {
      this.#messages.complete();
      this.#events.complete();
      this.#dataWaiters.wake();
      this.#acceptWaiters.wake();
      if (this.#failure === undefined) this.#resolveClosed();
      else this.#rejectClosed(this.#failure.error);
    });
  }

  /** The address is free, and what was accepted for sending is out. */
  async #settled(): Promise<void> {
    // The last client may be just about to enter its closing channel here.
    await Promise.resolve();
    await Promise.allSettled([this.#listening, ...this.#closing]);
  }
}

function expectAnswer(response: IpcResponse): void {
  if (typeof response !== 'object' || response === null) {
    throw new TypeError(`Expected an answer to be an object, got ${show(response)}`);
  }
  const { data, error, items } = response;
  if (data !== undefined) {
    expectBytes('data', data);
    if (error === undefined && items === undefined) return;
  }
  const set = Number(data !== undefined) + Number(error !== undefined) + Number(items !== undefined);
  if (set > 1) {
    throw new TypeError(`Expected an answer with one of \`data\`, \`error\` and \`items\`, got ${set} of them`);
  }
}

function closedError(): IpcError {
  return new IpcError('ERR_IPC_CLOSED', 'Expected an open server, got one that was closed');
}
