/** A server's side of one client: what came and waits, what is open, what goes out. */
import type { Observable, Subscriber } from 'rxjs';
import { Assembler, type Assembly } from './assembler.ts';
import { copyOf } from './bytes.ts';
import type { Channel, Frame } from './channel.ts';
import type { Bytes, DisconnectReason, IpcMessage, IpcRequest, IpcResponse, ShutdownOptions } from './contract.ts';
import { DataLane, limitOfPeer, type LaneEntry } from './data-lane.ts';
import { EarlyCancels } from './early-cancels.ts';
import { decodeFailure, encodeFailure, encodeOwnError } from './error-frame.ts';
import { IpcError, MessageTooLargeError, PeerGoneError, ProtocolError, ShutdownRequested } from './errors.ts';
import {
  FLAG_IN_PLACE,
  FLAG_OVERTAKING,
  KIND_CANCEL,
  KIND_CREDIT,
  KIND_DUPLEX_REQUEST,
  KIND_END,
  KIND_ERROR,
  KIND_GOAWAY,
  KIND_ITEM,
  KIND_ONE_WAY,
  KIND_REQUEST,
  KIND_RESPONSE,
  KIND_STREAM_REQUEST,
} from './frame.ts';
import { Inbox } from './inbox.ts';
import { extensionOf, Message, messageOf, takeOwned } from './message.ts';
import { bothSides, show, SMALLER, type ServerSettings } from './options.ts';
import { PlainOrder } from './plain-order.ts';
import type { ReassemblyBudget } from './reassembly-budget.ts';
import type { RequestTable } from './request-table.ts';
import type { AnswerClaim } from './response-claim.ts';
import type { ServerRequest } from './server-request.ts';
import { StreamReceiver } from './stream-receiver.ts';
import { StreamSender } from './stream-sender.ts';
import type { Timers } from './timers.ts';
import { handOut, RequestClass, stackOfReceiver, WATCH_SPANS } from './watched-spans.ts';
import { WireTable } from './wire-table.ts';

const NO_BYTES: Uint8Array = new Uint8Array(0);
/** Deliveries of queued messages before the event loop gets a turn. */
const DELIVERIES_PER_TURN = 1024;
/** Cancels that overtook their requests, at most: a well-behaved client has no more requests open. */
const MAX_EARLY_CANCELS = 65_536;

/** Counters that clients and server share. */
export interface Counters {
  requests: number;
  responses: number;
  messages: number;
  droppedAnswers: number;
  droppedPushes: number;
  refused: number;
  bytesIn: number;
  bytesOut: number;
}

/** What a {@link ServerClient} needs of its server. */
export interface ServerHost {
  readonly settings: ServerSettings;
  readonly timers: Timers;
  readonly budget: ReassemblyBudget;
  readonly table: RequestTable;
  readonly counters: Counters;
  /** Somebody subscribed or pulled: messages may be delivered. */
  readonly reading: boolean;
  /** Shutdown was requested: nothing new starts. */
  readonly draining: boolean;
  /** Who takes requests, when they are pushed. */
  readonly consumer: Subscriber<IpcRequest> | undefined;
  /** Where it subscribed, while spans are watched. */
  readonly consumerStack: string | undefined;
  /** The request that is being delivered, while it is in no table. */
  current: ServerRequest | undefined;
  /** Puts {@link current} into the tables, for whatever may look for it there. */
  bookCurrent(): void;
  /** Requests are pulled: they wait until `receive`. */
  readonly pulling: boolean;
  nextRequestId(): number;
  deliverMessage(message: IpcMessage): void;
  answer(response: IpcResponse): boolean;
  requestShutdown(options?: ShutdownOptions): void;
  /** A request waits to be pulled. */
  onWaiting(client: ServerClient): void;
  /** A request or an answer left: a draining server may be done with this client. */
  onProgress(client: ServerClient): void;
  /** The client is gone and all it sent is delivered. */
  onGone(client: ServerClient, reason: DisconnectReason, error: Error | undefined): void;
}

export class ServerClient {
  readonly clientId: number;
  readonly channel: Channel;
  readonly server: ServerHost;
  readonly lane: DataLane;
  /** The largest message that both sides let pass. */
  readonly maxMessageBytes: number;
  /** An answer that is being written in place; it may be over. */
  claim: AnswerClaim | undefined;
  readonly #plain: PlainOrder | undefined;
  readonly #inbox = new Inbox();
  readonly #assembler: Assembler;
  readonly #byWire = new WireTable<ServerRequest>();
  /** The largest message taken. */
  readonly #takenBytes: number;
  /** Requests on the books: not answered, or not released, or still streaming. */
  readonly #maxInFlight: number;
  readonly #windowBytes: number;
  readonly #responseWindowBytes: number;
  #open = 0;
  /** Bytes of assembled requests that are not released: the channel's window has let go of those. */
  #assembledBytes = 0;
  /** Answers that wait in the lane, so that a cancel can still take them out. */
  readonly #queuedAnswers = new Map<number, AnswerEntry>();
  readonly #earlyCancels = new EarlyCancels();
  /** The wire id of the request that a handler is answering on the short way. */
  #alone: number | undefined;
  #goaway = false;
  #gone: { readonly reason: DisconnectReason; readonly error: Error | undefined } | undefined;
  #left: AbortController | undefined;
  #reported = false;
  #pumping = false;
  #resumed = false;
  /** What the client did since {@link seemsStuck} was asked. */
  #sinceLastLook = { taken: false, sent: false };
  #receivedBytes: number | undefined;

  constructor(server: ServerHost, channel: Channel, clientId: number) {
    this.server = server;
    this.channel = channel;
    this.clientId = clientId;
    this.lane = new DataLane(channel);
    this.maxMessageBytes = bothSides(server.settings.maxMessageBytes, limitOfPeer(channel));
    this.#maxInFlight = server.settings.maxInFlight;
    this.#takenBytes = server.settings.maxMessageBytes;
    this.#windowBytes = server.settings.windowBytes;
    this.#responseWindowBytes = server.settings.responseWindowBytes;
    this.#plain =
      channel.framing === 'plain'
        ? new PlainOrder(this.lane, (error) => void this.#closeAfterFlush('closed', error))
        : undefined;
    this.#assembler = new Assembler(
      {
        maxMessageBytes: server.settings.maxMessageBytes,
        accept: (kind, id, totalBytes) => this.#acceptAssembly(kind, id, totalBytes),
        onWaiting: (assembly) => this.#inbox.pushAssembly(assembly),
        onReady: (assembly) => this.#onAssembled(assembly),
        // Its terminal frame went out when it was discarded.
        onDiscarded: () => undefined,
      },
      server.budget,
    );
  }

  /** Starts to take frames. After the client is announced, so that nobody sees its requests before it. */
  start(): void {
    this.channel.onRoom = () => this.#onRoom();
    this.channel.onClosed = (reason, error) => this.#onClosed(reason, error);
    this.channel.onFrames = (frames) => this.#onFrames(frames);
    if ('takeRequest' in this.channel) this.channel.takeRequest = (request) => this.#takeRequest(request);
    if ('serveAlone' in this.channel) {
      this.channel.serveAlone = (id, request, handler) => this.#serveAlone(id, request, handler);
    }
  }

  get gone(): boolean {
    return this.#gone !== undefined;
  }

  /** Aborts when the client leaves. */
  get leftSignal(): AbortSignal {
    if (this.#left === undefined) {
      this.#left = new AbortController();
      if (this.#gone !== undefined) this.#left.abort(goneError(this.#gone));
    }
    return this.#left.signal;
  }

  /** Requests on the books. */
  get openRequests(): number {
    return this.#open;
  }

  /** The client said that it sends no more requests. */
  get saidGoaway(): boolean {
    return this.#goaway;
  }

  /** Requests that came and were not delivered. */
  get waitingRequests(): number {
    return this.#inbox.requests;
  }

  /** Whether the client seems stuck, seen since the last call: it took none of the answers that wait, or sent nothing of the rest of a message. */
  seemsStuck(): boolean {
    const { taken } = this.#sinceLastLook;
    // A large frame may come slowly, and steadily.
    const { receivedBytes } = this.channel;
    const sent = this.#sinceLastLook.sent || receivedBytes !== this.#receivedBytes;
    this.#receivedBytes = receivedBytes;
    this.#sinceLastLook = { taken: false, sent: false };
    if (!this.lane.idle && !taken && this.claim?.blocks !== true) return true;
    return (this.channel.midFrame || this.#assembler.collecting) && !sent && !this.#holdsWindow();
  }

  /** Whether it is we who keep the client from sending: bytes of it are not delivered, or not released. */
  #holdsWindow(): boolean {
    return !this.#inbox.empty || this.#openRequests().some(({ kind, released }) => kind === KIND_REQUEST && !released);
  }

  /** Nothing is open, and all answers are out. */
  get idle(): boolean {
    return this.#open === 0 && this.lane.idle;
  }

  // ---- in ----

  #onFrames(frames: readonly Frame[]): void {
    this.#sinceLastLook.sent = true;
    if (this.#pumping) {
      // From inside a delivery (a handler polled the transport): the running loop takes them afterwards.
      this.server.bookCurrent();
      this.#guard(() => {
        for (const frame of frames) this.#takeSlowly(frame);
      });
      return;
    }
    this.#pumping = true;
    try {
      // By index: a loop with `of` is so much code that the rest of the path would not become one function with it.
      for (let i = 0, frame = frames[0]; frame !== undefined; frame = frames[++i]) this.#take(frame);
    } catch (error) {
      this.#onBroken(error);
    } finally {
      this.#pumping = false;
    }
    if (!this.#inbox.empty || this.#gone !== undefined) this.pump();
  }

  /** The way of requests that come alone, or are answered one after the other. */
  #takeRequest(request: Frame): boolean {
    const { consumer } = this.server;
    if (consumer === undefined || !this.#isQuiet(request.payload.length)) return false;
    this.#sinceLastLook.sent = true;
    this.#pumping = true;
    try {
      this.#deliverRequest(consumer, request);
    } catch (error) {
      this.#onBroken(error);
    } finally {
      this.#pumping = false;
    }
    if (!this.#inbox.empty || this.#gone !== undefined) this.pump();
    return true;
  }

  /** Nothing of this client is open, waits or is half there, so that a request of `bytes` is alone; and the server takes it. */
  #isQuiet(bytes: number): boolean {
    return (
      this.#open === 0 &&
      !this.#pumping &&
      this.lane.idle &&
      this.#inbox.empty &&
      !this.#assembler.active &&
      this.#earlyCancels.size === 0 &&
      this.#gone === undefined &&
      !this.server.draining &&
      bytes <= this.#takenBytes
    );
  }

  #take(frame: Frame): void {
    // As in a batch most requests come: nothing waits before it, nothing keeps it back, and it is whole.
    const { consumer } = this.server;
    if (
      consumer !== undefined &&
      frame.kind === KIND_REQUEST &&
      frame.flags === 0 &&
      frame.payload.length <= this.#takenBytes &&
      this.#inbox.empty &&
      !this.#assembler.active &&
      this.#mayDeliver() &&
      this.#earlyCancels.size === 0 &&
      this.#gone === undefined &&
      !this.server.draining &&
      // Nobody waits, so only an open request can have its id.
      (this.#plain !== undefined || this.#byWire.get(frame.id) === undefined)
    ) {
      this.#deliverRequest(consumer, frame);
    } else this.#takeSlowly(frame);
  }

  #takeSlowly(frame: Frame): void {
    if (this.#gone !== undefined) {
      frame.release();
      return;
    }
    switch (frame.kind) {
      case KIND_CANCEL:
        this.#onCancel(frame);
        return;
      case KIND_CREDIT:
        this.#onCredit(frame);
        return;
      case KIND_GOAWAY:
        if ((frame.flags & FLAG_OVERTAKING) === 0) {
          this.#goaway = true;
          this.server.onProgress(this);
        }
        return;
      case KIND_ERROR:
        // Ends a duplex input, also in the middle of an item.
        this.#assembler.interrupt(frame.id);
        break;
      default:
    }
    if (this.#assembler.active || (frame.flags & ~1) !== 0) {
      this.#assembler.add(frame);
      return;
    }
    let message: Frame;
    try {
      message = messageOf(frame);
    } catch (error) {
      frame.release();
      throw error;
    }
    this.#takeMessage(message);
  }

  #takeMessage(message: Frame): void {
    if (message.payload.length > this.#takenBytes) {
      this.#onTooLarge(message.kind, message.id, message.payload.length);
      message.release();
      return;
    }
    switch (message.kind) {
      case KIND_REQUEST:
      case KIND_STREAM_REQUEST:
      case KIND_DUPLEX_REQUEST:
        if (this.#plain === undefined) {
          this.#checkFree(message.id);
          if (this.#earlyCancels.take(message.id)) {
            message.release();
            this.#sendOwnError(message.id, cancelled());
            return;
          }
        }
        if (this.server.draining) {
          message.release();
          this.#refuse(message.id);
          return;
        }
        this.#inbox.push(message);
        return;
      case KIND_ONE_WAY:
        this.#inbox.push(message);
        return;
      case KIND_ITEM:
      case KIND_END:
      case KIND_ERROR:
        if (this.#inbox.has(message.id)) this.#inbox.push(message);
        else this.#takeInput(message);
        return;
      default:
        message.release();
        throw new ProtocolError(`Expected a frame that a client may send, got one of kind ${message.kind}`);
    }
  }

  /** A wire id belongs to one request until its terminal frame. */
  #checkFree(id: number): void {
    if (this.#plain !== undefined) return;
    if (this.#byWire.get(id) !== undefined || this.#inbox.hasRequest(id)) {
      throw new ProtocolError(`Expected a wire id that is not in use, got ${id}`);
    }
  }

  #acceptAssembly(kind: number, id: number, totalBytes: number): boolean {
    const isRequest = kind <= KIND_DUPLEX_REQUEST;
    if (isRequest) this.#checkFree(id);
    else if (kind !== KIND_ONE_WAY && kind !== KIND_ITEM) {
      throw new ProtocolError(`Expected fragments of a request, a one-way message or an item, got kind ${kind}`);
    }
    if (isRequest && this.server.draining) {
      this.#refuse(id);
      return false;
    }
    if (isRequest && this.#earlyCancels.take(id)) {
      this.#sendOwnError(id, cancelled());
      return false;
    }
    if (kind === KIND_ITEM && this.#byWire.get(id) === undefined && !this.#inbox.has(id)) return false;
    if (totalBytes > this.#takenBytes) {
      this.#onTooLarge(kind, id, totalBytes);
      return false;
    }
    return true;
  }

  /** A client of ours would not have sent it: it costs the one request that it is or belongs to. */
  #onTooLarge(kind: number, id: number, bytes: number): void {
    const error = new MessageTooLargeError(bytes, this.#takenBytes, "the server's");
    if (this.#plain !== undefined) throw error;
    if (kind <= KIND_DUPLEX_REQUEST) {
      this.#checkFree(id);
      this.#sendOwnError(id, error);
    } else if (kind === KIND_ITEM) {
      this.#byWire.get(id)?.restIfAny?.input?.fail(error);
    }
  }

  #onAssembled(assembly: Assembly): void {
    if (!this.#inbox.isQueued(assembly)) {
      this.#guard(() => this.#takeMessage(assembly.take()));
      return;
    }
    this.#inbox.replace(assembly, assembly.take());
    this.pump();
  }

  #onCancel(frame: Frame): void {
    const { id, flags } = frame;
    if ((flags & FLAG_IN_PLACE) !== 0) {
      // It acted when it came. What it cancelled has come to its end by now, or was never there.
      this.#earlyCancels.pass(id);
      this.#assembler.interrupt(id);
      return;
    }
    const overtaking = (flags & FLAG_OVERTAKING) !== 0;
    const collecting = this.#assembler.isCollectingRequest(id);
    if (overtaking) this.#assembler.discard(id);
    else this.#assembler.interrupt(id);
    const acts = this.#cancelNow(id, collecting);
    if (!overtaking) return;
    this.#earlyCancels.add(id, !acts);
    if (this.#earlyCancels.size > MAX_EARLY_CANCELS) {
      throw new ProtocolError(`Expected at most ${MAX_EARLY_CANCELS} cancels ahead of their requests, got more`);
    }
  }

  /** Ends what is there of `id`. False when there is nothing. */
  #cancelNow(id: number, collecting: boolean): boolean {
    const queued = this.#inbox.cancel(id);
    const request = this.#byWire.get(id);
    if (request !== undefined) {
      this.#cancelRequest(request);
    } else if (queued) {
      this.#sendOwnError(id, cancelled());
    } else {
      const answer = this.#queuedAnswers.get(id);
      if (answer !== undefined) this.#takeBackAnswer(answer, cancelled());
      else if (collecting) this.#sendOwnError(id, cancelled());
      else return false;
    }
    return true;
  }

  #onCredit(frame: Frame): void {
    if ((frame.flags & FLAG_IN_PLACE) !== 0) return;
    const payload = frame.payload;
    if (payload.length !== 4) throw new ProtocolError(`Expected credit of 4 bytes, got ${payload.length}`);
    const bytes = new DataView(payload.buffer, payload.byteOffset).getUint32(0, true);
    this.#byWire.get(frame.id)?.restIfAny?.sender?.give(bytes);
  }

  #takeInput(message: Frame): void {
    const input = this.#byWire.get(message.id)?.restIfAny?.input;
    if (input === undefined) {
      // Its request has ended; the client did not know yet.
      message.release();
      return;
    }
    if (message.kind === KIND_ITEM) {
      input.push(takeOwned(message));
    } else if (message.kind === KIND_END) {
      message.release();
      input.end();
    } else {
      const error = decodeFailure(message.payload);
      message.release();
      input.fail(error);
    }
  }

  // ---- delivery ----

  /** Delivers what waits, as far as the client's bounds allow. */
  pump(): void {
    if (this.#pumping) return;
    this.#pumping = true;
    try {
      this.#deliverQueued();
    } catch (error) {
      this.#onBroken(error);
    } finally {
      this.#pumping = false;
    }
    if (this.#gone !== undefined && this.#inbox.empty) this.#report();
  }

  #deliverQueued(): void {
    const { server } = this;
    if (server.consumer !== undefined || server.pulling) this.#inbox.unpark();
    for (let left = DELIVERIES_PER_TURN; ; left--) {
      const queued = this.#inbox.peek();
      if (queued === undefined || !this.#mayDeliver()) return;
      const message = queued.message;
      // An assembly that waits for memory: what came later waits behind it.
      if (message === undefined) return;
      if (left === 0) {
        if (!this.#resumed) {
          this.#resumed = true;
          server.timers.soon(() => {
            this.#resumed = false;
            this.pump();
          });
        }
        return;
      }
      if (message.kind === KIND_ONE_WAY) {
        this.#inbox.shift();
        this.#deliverOneWay(message);
      } else if (message.kind > KIND_ONE_WAY) {
        // Behind its request, which stepped aside.
        if (this.#inbox.hasRequest(message.id)) {
          this.#inbox.park();
          continue;
        }
        this.#inbox.shift();
        this.#takeInput(message);
      } else if (server.pulling) {
        server.onWaiting(this);
        return;
      } else if (server.consumer === undefined) {
        // Only one-way messages are read: requests wait for somebody who answers them, out of their way.
        this.#inbox.park();
      } else {
        this.#inbox.shift();
        this.#deliverRequest(server.consumer, message);
      }
    }
  }

  /** The next request for a server that pulls. */
  receive(): IpcRequest | undefined {
    this.pump();
    const queued = this.#inbox.peek();
    const message = queued?.message;
    if (message === undefined || message.kind > KIND_DUPLEX_REQUEST || !this.#mayDeliver()) return undefined;
    this.#inbox.shift();
    const request = this.#openRequest(message);
    this.book(request);
    this.pump();
    return WATCH_SPANS ? handOut(request, stackOfReceiver()) : request;
  }

  /** A request could be received now. */
  get hasRequest(): boolean {
    const message = this.#inbox.peek()?.message;
    return message !== undefined && message.kind <= KIND_DUPLEX_REQUEST && this.#mayDeliver();
  }

  #mayDeliver(): boolean {
    return (
      this.server.reading &&
      ((this.#open < this.#maxInFlight &&
        this.lane.queuedBytes < this.#responseWindowBytes &&
        (this.#plain === undefined || this.#plain.heldBytes < this.#responseWindowBytes) &&
        this.#assembledBytes < this.#windowBytes) ||
        // Nothing that a client who left could be bounded by.
        this.#gone !== undefined)
    );
  }

  #deliverOneWay(message: Frame): void {
    const { counters } = this.server;
    counters.messages++;
    counters.bytesIn += message.payload.length;
    this.server.deliverMessage({ clientId: this.clientId, data: takeOwned(message) });
  }

  #deliverRequest(consumer: Subscriber<IpcRequest>, message: Frame): void {
    const { server } = this;
    // Set only where a handler polls, which delivers from inside a delivery.
    if (server.current !== undefined) server.bookCurrent();
    const request = this.#openRequest(message);
    server.current = request;
    consumer.next(WATCH_SPANS ? handOut(request, server.consumerStack) : request);
    if (server.current !== request) return;
    server.current = undefined;
    if (!request.over) this.book(request);
  }

  /** Takes a request for open. */
  #openRequest(message: Frame): ServerRequest {
    const { counters } = this.server;
    counters.requests++;
    counters.bytesIn += message.payload.length;
    this.#open++;
    if (message.kind !== KIND_REQUEST || message instanceof Message) return this.#openWithRest(message);
    const request = new RequestClass(this, this.server.nextRequestId(), message);
    if (this.#plain !== undefined) this.#plain.add(request);
    return request;
  }

  /** Takes one for open that has more to it than its bytes. */
  #openWithRest(message: Frame): ServerRequest {
    const { kind } = message;
    // The extension first: a copy does not have it.
    const extension = extensionOf(message);
    const body = kind === KIND_REQUEST ? message : ownedCopy(message);
    const request = new RequestClass(this, this.server.nextRequestId(), body);
    if (extension !== undefined) {
      request.rest.extension = extension;
      request.rest.arrivedMs = performance.now();
    }
    if (isAssembled(body)) this.#assembledBytes += body.payload.length;
    if (kind === KIND_DUPLEX_REQUEST) request.rest.input = this.#openInput(request);
    return request;
  }

  #openInput(request: ServerRequest): StreamReceiver {
    const { wireId } = request;
    return new StreamReceiver(
      this.server.settings.streamWindowBytes,
      (bytes) => this.#giveCredit(wireId, bytes),
      // The handler wants no more input: the client stops its stream.
      () => {
        if (!request.answered && this.#gone === undefined) {
          this.channel.trySend('control', KIND_CANCEL, wireId, 0, NO_BYTES);
        }
      },
    );
  }

  /** Puts a request that stays open into the tables. */
  book(request: ServerRequest): void {
    request.markBooked();
    this.server.table.add(request);
    if (this.#plain === undefined && !request.answered) this.#byWire.set(request.wireId, request);
  }

  #giveCredit(wireId: number, bytes: number): void {
    const payload = new Uint8Array(4);
    new DataView(payload.buffer).setUint32(0, bytes, true);
    this.channel.trySend('control', KIND_CREDIT, wireId, 0, payload);
  }

  // ---- answers ----

  /** The only open request, or a plain client's oldest. */
  onlyOpen(): ServerRequest | undefined {
    if (this.#plain !== undefined) return this.#plain.oldest();
    if (this.#open !== 1) return undefined;
    return this.#byWire.values()[0] ?? this.server.table.ofClient(this.clientId)[0];
  }

  /** Answers a request of this client. False when it had its answer already. */
  answer(request: ServerRequest, response: IpcResponse): boolean {
    const taken = this.#takeAnswer(request, response);
    request.done();
    return taken;
  }

  /** Answers a request that nothing has happened to, and is done with it. False, and nothing has happened: it goes the way of {@link answer}. */
  answerAtOnce(request: ServerRequest, data: Uint8Array): boolean {
    if (!request.untouched || data.length > this.maxMessageBytes || this.#plain !== undefined) return false;
    if (!this.lane.trySend(KIND_RESPONSE, request.wireId, data)) return false;
    const { counters } = this.server;
    counters.responses++;
    counters.bytesOut += data.length;
    request.finish();
    if (isAssembled(request.message)) this.#assembledBytes -= request.message.payload.length;
    this.#open--;
    this.#afterProgress();
    request.done();
    return true;
  }

  #takeAnswer(request: ServerRequest, response: IpcResponse): boolean {
    if (request.answered) {
      // A late answer for a request that was cancelled: its handler is done with the span, and with what it claimed.
      this.server.counters.droppedAnswers++;
      this.claim?.onLateAnswer(request.requestId);
      request.release();
      return false;
    }
    const rest = request.restIfAny;
    if (rest?.sender !== undefined) {
      // It has its answer, which streams still.
      this.server.counters.droppedAnswers++;
      return false;
    }
    const late = rest?.aborted;
    if (late !== undefined) {
      // Its deadline passed: what a handler makes of that is not an answer any more.
      this.server.counters.droppedAnswers++;
      this.#answerOwnError(request, late);
      return false;
    }
    if (response.data !== undefined) this.#answerData(request, response.data);
    else if (response.error !== undefined) this.#answerError(request, response.error);
    else if (response.items !== undefined) this.#answerItems(request, response.items);
    else this.#answerNothing(request);
    return true;
  }

  /** Ends a request before its answer came. False when there is nothing to end. */
  fail(request: ServerRequest, error: IpcError): boolean {
    if (request.answered || this.#gone !== undefined) return false;
    this.server.counters.responses++;
    if (this.#plain === undefined) {
      this.#endRequest(request, error);
    } else {
      this.#closePlain(this.#plain, request, error);
      request.abort(error);
    }
    return true;
  }

  #answerData(request: ServerRequest, data: Uint8Array): void {
    const { counters } = this.server;
    const limit = this.maxMessageBytes;
    if (data.length > limit) {
      this.#answerOwnError(request, new MessageTooLargeError(data.length, limit, SMALLER));
      return;
    }
    counters.responses++;
    counters.bytesOut += data.length;
    if (this.#plain !== undefined) {
      this.#answerPlain(this.#plain, request, data);
      return;
    }
    if (this.lane.trySend(KIND_RESPONSE, request.wireId, data)) {
      this.#markAnswered(request);
      request.release();
      return;
    }
    if (this.claim?.trySendInPlace(request, data) === true) {
      this.#markAnswered(request);
      request.release();
      return;
    }
    // An echo keeps the request until it is out; all else is copied, since the caller may reuse it.
    const holdsSpan = isPartOf(data, request);
    const payload = holdsSpan || this.claim?.owns(data) === true ? data : copyOf(data);
    if (holdsSpan) request.hold();
    this.#markAnswered(request);
    if (!holdsSpan) request.release();
    this.#queueAnswer(new AnswerEntry(this, KIND_RESPONSE, request.wireId, payload, holdsSpan ? request : undefined));
  }

  #answerPlain(order: PlainOrder, request: ServerRequest, data: Uint8Array): void {
    this.#markAnswered(request);
    if (order.isNext(request) && this.lane.trySend(KIND_RESPONSE, 0, data)) {
      order.settle(request, { type: 'skip' });
      request.release();
      return;
    }
    const holdsSpan = isPartOf(data, request);
    const payload = holdsSpan || this.claim?.owns(data) === true ? data : copyOf(data);
    if (holdsSpan) request.hold();
    else request.release();
    order.settle(request, {
      type: 'data',
      payload,
      onSent: () => {
        request.letGo();
        this.#afterProgress();
      },
    });
  }

  #answerError(request: ServerRequest, error: unknown): void {
    if (isShutdownRequest(error)) {
      if (error.response === undefined) this.#answerNothing(request);
      else this.#answerData(request, error.response);
      this.server.requestShutdown();
      return;
    }
    if (this.#plain !== undefined) {
      this.#closePlain(this.#plain, request, toError(error));
      return;
    }
    this.#finishWithError(request, encodeFailure(error, this.lane.pieceBytes));
  }

  #answerOwnError(request: ServerRequest, error: IpcError): void {
    if (this.#plain === undefined) this.#finishWithError(request, encodeOwnError(error));
    else this.#closePlain(this.#plain, request, error);
  }

  #finishWithError(request: ServerRequest, payload: Uint8Array): void {
    this.server.counters.responses++;
    this.#markAnswered(request);
    request.release();
    this.#sendTerminal(KIND_ERROR, request.wireId, payload);
  }

  #answerNothing(request: ServerRequest): void {
    this.#markAnswered(request);
    request.release();
    if (this.#plain !== undefined) this.#plain.settle(request, { type: 'skip' });
    else this.#sendTerminal(KIND_END, request.wireId, NO_BYTES);
  }

  #answerItems(request: ServerRequest, items: AsyncIterable<Uint8Array> | Observable<Uint8Array>): void {
    if (this.#plain !== undefined) {
      const message = 'Plain framing has no streams: expected an answer of bytes, got items';
      this.#closePlain(this.#plain, request, new IpcError('ERR_IPC_UNSUPPORTED', message));
      return;
    }
    if (request.kind === KIND_REQUEST) {
      const message = 'The handler answered with a stream of items: use request$ for it, not request';
      this.#answerOwnError(request, new IpcError('ERR_IPC_UNSUPPORTED', message));
      return;
    }
    const { counters, settings } = this.server;
    const hello = this.channel.hello;
    const sender = new StreamSender(this.lane, request.wireId, hello?.streamWindowBytes ?? 0, settings.overflow, {
      onFinished: () => {
        if (!request.answered) this.#markAnswered(request);
        request.release();
        this.#afterProgress();
      },
      onSent: (bytes) => {
        counters.bytesOut += bytes;
      },
      tooLarge: (bytes) =>
        bytes > this.maxMessageBytes ? new MessageTooLargeError(bytes, this.maxMessageBytes, SMALLER) : undefined,
    });
    counters.responses++;
    request.rest.sender = sender;
    sender.start(items);
  }

  /** What plain framing cannot say ends its connection, after the answers before it. */
  #closePlain(order: PlainOrder, request: ServerRequest, error: Error): void {
    this.#markAnswered(request);
    request.release();
    order.settle(request, { type: 'close', error });
  }

  /** Refuses a request that never started. */
  #refuse(wireId: number): void {
    this.server.counters.refused++;
    if (this.#plain === undefined) {
      const message = 'The server is shutting down and never started this request';
      this.#sendOwnError(wireId, new IpcError('ERR_IPC_REFUSED', message));
    }
  }

  #sendOwnError(wireId: number, error: IpcError): void {
    if (this.#assembler.isAssembling(wireId)) this.#assembler.discard(wireId);
    this.#sendTerminal(KIND_ERROR, wireId, encodeOwnError(error));
  }

  #sendTerminal(kind: number, wireId: number, payload: Uint8Array): void {
    if (this.#gone !== undefined || this.lane.trySend(kind, wireId, payload)) return;
    this.lane.push(new AnswerEntry(this, kind, wireId, payload, undefined));
  }

  #queueAnswer(entry: AnswerEntry): void {
    this.#queuedAnswers.set(entry.id, entry);
    this.lane.push(entry);
  }

  /** A queued answer is out. */
  onAnswerSent(entry: AnswerEntry): void {
    if (this.#queuedAnswers.get(entry.id) === entry) this.#queuedAnswers.delete(entry.id);
    entry.request?.letGo();
    this.#afterProgress();
  }

  /** Replaces an answer that is not out yet by an error: still exactly one terminal frame. */
  #takeBackAnswer(entry: AnswerEntry, error: IpcError): void {
    this.#queuedAnswers.delete(entry.id);
    const partial = this.lane.isSending(entry);
    if (!this.lane.remove(entry)) this.lane.abandon(entry);
    entry.request?.letGo();
    const terminal = new AnswerEntry(this, KIND_ERROR, entry.id, encodeOwnError(error), undefined);
    // After a part of a message only its rest or its error may follow.
    if (partial) this.lane.pushFirst(terminal);
    else this.lane.push(terminal);
  }

  #cancelRequest(request: ServerRequest): void {
    this.#endRequest(request, cancelled());
  }

  /** Ends an open request from our side: its terminal frame is `error`, its signal aborts, its streams stop. */
  #endRequest(request: ServerRequest, error: IpcError): void {
    const rest = request.restIfAny;
    const sender = rest?.sender;
    const { released } = request;
    this.claim?.onCancelled(request);
    this.#decide(request);
    const payload = encodeOwnError(error);
    if (sender === undefined) this.#sendTerminal(KIND_ERROR, request.wireId, payload);
    else sender.stop(new AnswerEntry(this, KIND_ERROR, request.wireId, payload, undefined));
    // After the answer was stopped: it may be made of the input, and would fail with it.
    rest?.input?.fail(error);
    if (released) this.#strike(request);
    request.abort(error);
  }

  // ---- the short way, for requests that come alone and are answered at once ----

  #serveAlone(
    id: number,
    request: Bytes,
    handler: (clientId: number, request: Bytes) => Uint8Array | undefined,
  ): boolean {
    const { server, lane } = this;
    if (server.consumer === undefined || server.current !== undefined || WATCH_SPANS) return false;
    if (!this.#isQuiet(request.length)) return false;
    server.counters.requests++;
    server.counters.bytesIn += request.length;
    this.#open++;
    this.#alone = id;
    let data: Uint8Array | undefined;
    let failure: { readonly error: unknown } | undefined;
    try {
      data = handler(this.clientId, request);
    } catch (error) {
      failure = { error };
    }
    if (this.#alone === undefined) {
      // The handler closed the server.
      server.counters.droppedAnswers++;
    } else if (failure === undefined) {
      this.#answerAlone(id, data);
    } else if (isShutdownRequest(failure.error)) {
      this.#answerAlone(id, failure.error.response);
      server.requestShutdown();
    } else {
      server.counters.responses++;
      this.#sendTerminal(KIND_ERROR, id, encodeFailure(failure.error, lane.pieceBytes));
    }
    this.#alone = undefined;
    this.#open--;
    this.#afterProgress();
    return true;
  }

  #answerAlone(id: number, data: Uint8Array | undefined): void {
    const { counters } = this.server;
    if (data === undefined) {
      this.#sendTerminal(KIND_END, id, NO_BYTES);
      return;
    }
    counters.responses++;
    if (data.length > this.maxMessageBytes) {
      this.#sendOwnError(id, new MessageTooLargeError(data.length, this.maxMessageBytes, SMALLER));
      return;
    }
    counters.bytesOut += data.length;
    if (this.lane.trySend(KIND_RESPONSE, id, data)) return;
    this.#queueAnswer(new AnswerEntry(this, KIND_RESPONSE, id, copyOf(data), undefined));
  }

  // ---- books ----

  /** The terminal frame is decided: the wire id is free for the client once it has that frame. */
  #markAnswered(request: ServerRequest): void {
    this.#decide(request);
    request.restIfAny?.input?.end();
    if (request.released) this.#strike(request);
  }

  #decide(request: ServerRequest): void {
    request.markAnswered();
    if (this.#plain === undefined && request.booked) this.#byWire.delete(request.wireId);
    request.settle();
  }

  /** Called by the request. */
  onReleased(request: ServerRequest, message: Frame): void {
    if (isAssembled(message)) this.#assembledBytes -= message.payload.length;
    if (request.answered) this.#strike(request);
    else if (!this.#inbox.empty) this.pump();
  }

  /** Takes a request off the books. */
  #strike(request: ServerRequest): void {
    this.#open--;
    if (request.booked) this.server.table.delete(request);
    this.#afterProgress();
    request.done();
  }

  #afterProgress(): void {
    if (!this.#inbox.empty) this.pump();
    if (this.server.draining) this.server.onProgress(this);
  }

  // ---- pushes ----

  /** A one-way message to the client, or false when it takes none now. */
  push(data: Uint8Array): boolean {
    const hello = this.channel.hello;
    if (this.#gone !== undefined || hello === undefined || !hello.pushes || !this.lane.idle) return false;
    if (data.length > this.maxMessageBytes) throw new MessageTooLargeError(data.length, this.maxMessageBytes, SMALLER);
    if (!this.lane.trySend(KIND_ONE_WAY, 0, data)) {
      // Too large for one frame, or no room. Of the large one a copy goes out as room comes; it is the only one that waits.
      if (data.length <= this.lane.pieceBytes) return false;
      this.lane.push(new AnswerEntry(this, KIND_ONE_WAY, 0, copyOf(data), undefined));
    }
    this.server.counters.bytesOut += data.length;
    return true;
  }

  // ---- the end ----

  /** Tells the client that nothing new will start, and refuses what has not started. */
  beginShutdown(): void {
    this.server.bookCurrent();
    if (this.#gone !== undefined) return;
    this.channel.trySend('control', KIND_GOAWAY, 0, 0, NO_BYTES);
    for (const message of this.#inbox.takeRequests()) {
      this.#refuse(message.id);
      message.release();
    }
    this.pump();
  }

  /** Ends what still runs, with `error`. */
  abortOpen(error: IpcError): void {
    this.server.bookCurrent();
    if (this.#plain !== undefined) {
      for (const request of this.#openRequests()) request.abort(error);
      return;
    }
    for (const request of this.#byWire.values()) this.#endRequest(request, error);
    if (this.#alone === undefined) return;
    this.#sendOwnError(this.#alone, error);
    this.#alone = undefined;
  }

  /** Closes the connection; what was accepted for sending is flushed for orderly reasons. */
  close(reason: DisconnectReason, error?: Error): Promise<void> {
    const orderly = reason === 'shutdown' || reason === 'closed';
    // Behind an open claim nothing leaves any more.
    const flushes = orderly && this.claim?.blocks !== true;
    return flushes ? this.#closeAfterFlush(reason, error) : this.#closeNow(reason, error);
  }

  async #closeNow(reason: DisconnectReason, error: Error | undefined): Promise<void> {
    if (this.#gone !== undefined) return;
    // First: the channel reports its end too, with less to say.
    this.#onClosed(reason, error);
    await this.channel.close(reason);
  }

  #flushed: (() => void) | undefined;

  /** Closes from the callback itself: a server whose thread blocks runs no microtasks. */
  #closeAfterFlush(reason: DisconnectReason, error?: Error): Promise<void> {
    if (this.lane.idle || this.#gone !== undefined) return this.#closeNow(reason, error);
    return new Promise((resolve) => {
      const close = (): void => resolve(this.#closeNow(reason, error));
      const timer = this.server.timers.after(this.server.settings.graceMs, close);
      this.#flushed = () => {
        timer.cancel();
        close();
      };
    });
  }

  #onRoom(): void {
    this.#sinceLastLook.taken = true;
    this.lane.flush();
    if (this.lane.idle) this.#flushed?.();
    this.#afterProgress();
  }

  /** Something that this client sent cannot be: it costs this client, and nobody else. */
  #onBroken(error: unknown): void {
    const problem = error instanceof IpcError ? error : new ProtocolError('Expected readable frames', { cause: error });
    void this.close(problem.code === 'ERR_IPC_PROTOCOL' ? 'protocol' : 'gone', problem);
  }

  #guard(run: () => void): void {
    try {
      run();
    } catch (error) {
      this.#onBroken(error);
    }
  }

  #onClosed(reason: DisconnectReason, error: Error | undefined): void {
    if (this.#gone !== undefined) return;
    this.#gone = { reason, error };
    this.#alone = undefined;
    this.#flushed?.();
    this.#assembler.close();
    this.#queuedAnswers.clear();
    this.lane.takeUnsent();
    this.server.bookCurrent();
    const gone = goneError(this.#gone);
    const open = this.#openRequests();
    for (const request of open) {
      request.markAnswered();
      const rest = request.restIfAny;
      rest?.sender?.stop();
      rest?.input?.fail(gone);
      request.abort(gone);
      request.letGo();
      this.#forget(request);
    }
    for (const message of this.#inbox.takeRequests()) message.release();
    this.#inbox.keepOneWay();
    for (const request of open) request.done();
    this.#left?.abort(gone);
    if (this.#inbox.empty) this.#report();
    else this.pump();
  }

  #openRequests(): ServerRequest[] {
    return this.server.table.ofClient(this.clientId);
  }

  #forget(request: ServerRequest): void {
    if (this.server.table.get(request.requestId) === request) {
      this.#open--;
      this.server.table.delete(request);
    }
  }

  #report(): void {
    if (this.#reported || this.#gone === undefined) return;
    this.#reported = true;
    this.server.onGone(this, this.#gone.reason, this.#gone.error);
  }
}

function goneError({
  reason,
  error,
}: {
  readonly reason: DisconnectReason;
  readonly error: Error | undefined;
}): IpcError {
  return error instanceof IpcError ? error : new PeerGoneError(`The client left: ${reason}`);
}

function cancelled(): IpcError {
  return new IpcError('ERR_IPC_CANCELLED', 'The client cancelled this request');
}

/** Whether `data` is the request's own span or a part of it. */
function isPartOf(data: Uint8Array, request: ServerRequest): boolean {
  if (request.released) return false;
  const span = request.message.payload;
  return (
    data.buffer === span.buffer &&
    data.byteOffset >= span.byteOffset &&
    data.byteOffset + data.length <= span.byteOffset + span.length
  );
}

/** Streams never pin: the request that opens one is delivered as a copy of its own. */
function ownedCopy(message: Frame): Frame {
  return new Message(message.kind, message.id, takeOwned(message), true, undefined, undefined);
}

/** Whether the bytes of this request are beyond what the channel's window counts. */
function isAssembled(message: Frame): boolean {
  return message.owned && message instanceof Message && message.kind === KIND_REQUEST;
}

/** What was thrown may be anything, also what cannot be asked for its class. */
function isShutdownRequest(error: unknown): error is ShutdownRequested {
  try {
    return error instanceof ShutdownRequested;
  } catch {
    return false;
  }
}

function toError(value: unknown): Error {
  try {
    return value instanceof Error ? value : new Error(`The handler failed with ${show(value)}`);
  } catch {
    return new Error('The handler failed with a value that cannot be described');
  }
}

/** A terminal frame, or a large push, that waits for room. */
class AnswerEntry implements LaneEntry {
  readonly kind: number;
  readonly id: number;
  readonly payload: Uint8Array;
  readonly extension = undefined;
  /** The request whose span is the payload. */
  readonly request: ServerRequest | undefined;
  readonly #client: ServerClient;

  constructor(client: ServerClient, kind: number, id: number, payload: Uint8Array, request: ServerRequest | undefined) {
    this.#client = client;
    this.kind = kind;
    this.id = id;
    this.payload = payload;
    this.request = request;
  }

  begin(): boolean {
    return true;
  }

  sent(): void {
    this.#client.onAnswerSent(this);
  }
}
