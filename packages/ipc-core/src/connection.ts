/** A client's side of one connection: wire ids, what is open, what comes in. A client that reconnects makes a new one. */
import { Assembler, type Assembly } from './assembler.ts';
import { copyOf } from './bytes.ts';
import { StreamCall, type Call } from './call.ts';
import type { Channel, Frame } from './channel.ts';
import type { Bytes, Claim, DisconnectReason } from './contract.ts';
import { DataLane, limitOfPeer, type LaneEntry } from './data-lane.ts';
import { decodeFailure, encodeOwnError } from './error-frame.ts';
import { IpcError, MessageTooLargeError, PeerGoneError, ProtocolError } from './errors.ts';
import {
  FLAG_IN_PLACE,
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
  MAX_WIRE_ID,
} from './frame.ts';
import { Deque } from './deque.ts';
import { HeldAnswers } from './held-answers.ts';
import { messageOf, takeOwned } from './message.ts';
import { bothSides, SMALLER, type ClientSettings } from './options.ts';
import type { ReassemblyBudget } from './reassembly-budget.ts';
import { StreamSender } from './stream-sender.ts';

const NO_BYTES: Uint8Array = new Uint8Array(0);

/** What a {@link Connection} needs of its client. */
export interface ConnectionHost {
  readonly settings: ClientSettings;
  readonly budget: ReassemblyBudget;
  onPush(data: Bytes): void;
  /** The server will start nothing new. */
  onGoaway(connection: Connection): void;
  /** Nothing is open or waits any more, on a connection that is draining. */
  onDrained(connection: Connection): void;
  /** The connection is over. `unsent` was never sent; what was sent has failed. */
  onGone(connection: Connection, reason: DisconnectReason, error: Error | undefined, unsent: Call[]): void;
}

/** Holds the id of a call that was given up until the server's terminal frame came. */
const GIVEN_UP = Symbol('given up');

export class Connection {
  readonly channel: Channel;
  readonly lane: DataLane;
  /** The largest message that both sides let pass. */
  readonly maxMessageBytes: number;
  readonly #host: ConnectionHost;
  readonly #plain: boolean;
  readonly #assembler: Assembler;
  /** Calls by wire id. Dense: ids are reused, the last one freed first. Id 0 is the connection's own: its credit is for the window. */
  readonly #open: Array<Call | typeof GIVEN_UP | undefined> = [undefined];
  /** A stack, `#freeCount` high. Its array keeps its length: V8 would grow it again each time. */
  readonly #freeIds: number[] = [];
  #freeCount = 0;
  /** Plain framing: calls in order of sending. */
  readonly #inOrder = new Deque<Call | typeof GIVEN_UP>();
  readonly #held = new HeldAnswers();
  /** Ids of calls of which a held message became whole, while they are looked after. */
  #whole: number[] = [];
  #openCount = 0;
  #givenUp = 0;
  /** Bytes of borrowed replies. */
  #heldBytes = 0;
  draining = false;
  gone = false;

  constructor(host: ConnectionHost, channel: Channel) {
    this.#host = host;
    this.channel = channel;
    this.lane = new DataLane(channel);
    this.maxMessageBytes = bothSides(host.settings.maxMessageBytes, limitOfPeer(channel));
    this.#plain = channel.framing === 'plain';
    this.#assembler = new Assembler(
      {
        maxMessageBytes: host.settings.maxMessageBytes,
        accept: (kind, id, totalBytes) => this.#acceptAssembly(kind, id, totalBytes),
        onWaiting: (assembly) => this.#held.wait(assembly),
        onReady: (assembly) => this.#onAssembled(assembly),
        onDiscarded: (kind, id) => {
          if (kind === KIND_RESPONSE) this.#endGivenUp(id);
        },
      },
      host.budget,
    );
  }

  start(): void {
    this.channel.onRoom = () => this.#onRoom();
    this.channel.onClosed = (reason, error) => this.#onClosed(reason, error);
    this.channel.onFrames = (frames) => this.#onFrames(frames);
    if ('takeAnswer' in this.channel) this.channel.takeAnswer = (id, answer) => this.#takeAnswer(id, answer);
  }

  get plain(): boolean {
    return this.#plain;
  }

  /** Calls whose terminal frame has not come, those given up included. */
  get openCalls(): number {
    return this.#openCount;
  }

  /** Calls that were given up and whose terminal frame has not come. */
  get givenUpCalls(): number {
    return this.#givenUp;
  }

  // ---- out ----

  /** Gives a call its id, for somebody who sends it by himself. What comes back finds it. */
  reserve(call: Call): void {
    call.connection = this;
    this.#register(call);
  }

  /**
   * Sends a request at once whose call is not made yet: the server works on it meanwhile, and nothing comes back before whoever called has
   * returned. The id, for {@link opened}; below 0: it has to go the usual way.
   */
  sendAhead(payload: Uint8Array): number {
    if (this.#plain || payload.length > this.maxMessageBytes) return -1;
    const id = this.#takeId();
    if (this.lane.trySend(KIND_REQUEST, id, payload)) return id;
    this.#freeId(id);
    return -1;
  }

  /** Whose request {@link sendAhead} sent. */
  opened(call: Call, id: number): void {
    this.#openCount++;
    call.connection = this;
    call.id = id;
    this.#open[id] = call;
  }

  /** Sends a call without options at once, or returns false: then it has to wait. */
  trySend(call: Call): boolean {
    if (!this.lane.idle) return false;
    call.connection = this;
    if (call.kind === KIND_ONE_WAY) call.id = 0;
    else this.#register(call);
    if (this.lane.trySend(call.kind, call.id, call.payload)) {
      call.sent();
      return true;
    }
    if (call.kind !== KIND_ONE_WAY) this.#unregister(call);
    call.connection = undefined;
    return false;
  }

  /** Sends a call when there is room. Its payload must stay unchanged until then. */
  push(call: Call): void {
    call.connection = this;
    this.lane.push(call);
  }

  /** The lane is about to send `call`: it needs an id. False when the connection cannot take it. */
  begin(call: Call): boolean {
    const unfit = this.unfit(call);
    if (unfit !== undefined) {
      call.connection = undefined;
      call.fail(unfit);
      return false;
    }
    if (call.kind === KIND_ONE_WAY) call.id = 0;
    else if (call.id < 0) this.#register(call);
    return true;
  }

  /** Why this connection can never take `call`, or undefined. */
  unfit(call: Call): IpcError | undefined {
    const limit = this.maxMessageBytes;
    if (call.payload.length > limit) {
      return new MessageTooLargeError(call.payload.length, limit, SMALLER);
    }
    if (!this.#plain) return undefined;
    const what =
      call.kind === KIND_ONE_WAY
        ? 'one-way messages'
        : call instanceof StreamCall
          ? 'streams'
          : call.options?.metadata === undefined
            ? undefined
            : 'metadata';
    if (what === undefined) return undefined;
    return plainLacks(what);
  }

  /** Whether a request of `bytes`, its extension included, can be written in place. */
  canClaim(bytes: number): boolean {
    return !this.#plain && this.channel.claim !== undefined && bytes <= this.lane.pieceBytes;
  }

  /** Room for a request of `bytes` that is written in place; `call` has its id from now on. Undefined: no room now. */
  claim(call: Call, bytes: number, flags: number): Claim | undefined {
    this.#register(call);
    const claim = this.channel.claim?.(call.kind, call.id, bytes, flags);
    if (claim === undefined) this.#unregister(call);
    else call.connection = this;
    return claim;
  }

  /** `call` will not be written. */
  unclaim(call: Call): void {
    if (this.gone || call.settled) return;
    this.#unregister(call);
    call.connection = undefined;
    this.#checkDrained();
  }

  /** The caller gave `call` up. */
  cancel(call: Call): void {
    if (this.lane.remove(call)) {
      // No byte of it was sent: the server knows nothing of it.
      if (call.id >= 0 && call.kind !== KIND_ONE_WAY) this.#unregister(call);
      this.#checkDrained();
      return;
    }
    // Of a one-way message the fragments cannot be called back: there is no id. What began is finished.
    if (call.kind === KIND_ONE_WAY) return;
    if (this.#plain) {
      this.#givenUp++;
      this.#inOrder.replace(call, GIVEN_UP);
      return;
    }
    const { id } = call;
    const told = this.#cutOff(id);
    this.#assembler.discard(id);
    if (this.#held.drop(id)) {
      // The server has ended it already.
      this.#openCount--;
      this.#freeId(id);
    } else {
      this.#givenUp++;
      this.#open[id] = GIVEN_UP;
      if (!told) this.channel.trySend('control', KIND_CANCEL, id, 0, NO_BYTES);
    }
    // Last: what its source does when it is unsubscribed may send.
    if (call instanceof StreamCall) call.stopInput();
    this.lane.flush();
  }

  /** Says that no more requests will come, and takes back those not sent. */
  drain(): Call[] {
    this.draining = true;
    const unsent = this.#takeUnsent();
    this.channel.trySend('control', KIND_GOAWAY, 0, 0, NO_BYTES);
    this.#checkDrained();
    return unsent;
  }

  /** Counts a borrowed reply, or returns false: half of the window is held already. */
  hold(bytes: number): boolean {
    if ((this.#heldBytes + bytes) * 2 > this.#host.settings.responseWindowBytes) return false;
    this.#heldBytes += bytes;
    return true;
  }

  letGo(bytes: number): void {
    this.#heldBytes -= bytes;
  }

  /** Closes; what is open fails with `error`. */
  async close(error: IpcError): Promise<void> {
    if (this.gone) return;
    // First: the channel reports its end too, with less to say.
    this.#onClosed('closed', error);
    await this.channel.close('closed');
  }

  /** The consumer of a stream took items. */
  giveCredit(id: number, bytes: number): void {
    const payload = new Uint8Array(4);
    new DataView(payload.buffer).setUint32(0, bytes, true);
    this.channel.trySend('control', KIND_CREDIT, id, 0, payload);
  }

  #register(call: Call): void {
    this.#openCount++;
    if (this.#plain) {
      call.id = 0;
      this.#inOrder.push(call);
      return;
    }
    const id = this.#takeId();
    this.#open[id] = call;
    call.id = id;
  }

  /** The id of the next call. */
  #takeId(): number {
    const id = (this.#freeCount > 0 ? this.#freeIds[--this.#freeCount] : undefined) ?? this.#open.length;
    if (id > MAX_WIRE_ID) throw new RangeError(`Expected at most ${MAX_WIRE_ID} open calls, got more`);
    return id;
  }

  /** Takes the id of a call back of which no byte was sent. */
  #unregister(call: Call): void {
    this.#openCount--;
    if (this.#plain) {
      this.#inOrder.remove(call);
    } else {
      this.#freeId(call.id);
    }
    call.id = -1;
  }

  /** The request of `call` is out: its streams may begin. */
  startStreams(call: StreamCall): void {
    if (call.settled) return;
    const { id } = call;
    const { settings } = this.#host;
    if (call.input$ === undefined) return;
    const limit = this.maxMessageBytes;
    call.sender = new StreamSender(this.lane, id, this.channel.hello?.streamWindowBytes ?? 0, settings.overflow, {
      onFinished: () => undefined,
      onSent: () => undefined,
      tooLarge: (bytes) => (bytes > limit ? new MessageTooLargeError(bytes, limit, SMALLER) : undefined),
    });
    call.sender.start(call.input$);
  }

  // ---- in ----

  #onRoom(): void {
    this.lane.flush();
    this.#checkDrained();
  }

  #onFrames(frames: readonly Frame[]): void {
    try {
      for (const frame of frames) this.#take(frame);
    } catch (error) {
      this.#onBroken(error);
    }
    if (this.draining) this.#checkDrained();
  }

  #takeAnswer(id: number, answer: Uint8Array<ArrayBuffer>): boolean {
    const call = this.#open[id];
    if (
      call === undefined ||
      call === GIVEN_UP ||
      call.takesFrame ||
      this.#assembler.active ||
      this.#held.any ||
      this.draining ||
      this.gone ||
      this.lane.sending !== undefined
    ) {
      return false;
    }
    this.#openCount--;
    this.#freeId(id);
    try {
      call.onAnswer(copyOf(answer));
    } catch (error) {
      this.#onBroken(error);
    }
    return true;
  }

  #take(frame: Frame): void {
    if (frame.kind === KIND_RESPONSE && frame.flags === 0 && !this.#assembler.active) {
      this.#takeTerminal(frame);
      return;
    }
    if (this.gone) {
      frame.release();
      return;
    }
    switch (frame.kind) {
      case KIND_GOAWAY:
        if ((frame.flags & FLAG_IN_PLACE) === 0) this.#host.onGoaway(this);
        return;
      case KIND_CREDIT:
        this.#onCredit(frame);
        return;
      case KIND_CANCEL:
        this.#onCancelInput(frame);
        return;
      case KIND_ERROR:
        this.#assembler.interrupt(frame.id);
        this.#held.interrupt(frame.id);
        break;
      default:
    }
    if (this.#assembler.active || (frame.flags & ~1) !== 0) {
      this.#assembler.add(frame);
      return;
    }
    const message = messageOf(frame);
    if (!this.#held.any || message.kind === KIND_ONE_WAY || !this.#held.putBehind(message)) this.#takeMessage(message);
  }

  #takeMessage(message: Frame): void {
    switch (message.kind) {
      case KIND_RESPONSE:
      case KIND_END:
      case KIND_ERROR:
        this.#takeTerminal(message);
        return;
      case KIND_ITEM: {
        const call = this.#open[message.id];
        if (call === undefined) {
          throw new ProtocolError(`Expected an item of an open call, got one of id ${message.id}`);
        }
        if (call === GIVEN_UP) message.release();
        else call.onItem(message);
        return;
      }
      case KIND_ONE_WAY:
        this.#host.onPush(takeOwned(message));
        return;
      default:
        message.release();
        throw new ProtocolError(`Expected a frame that a server may send, got one of kind ${message.kind}`);
    }
  }

  #takeTerminal(message: Frame): void {
    const call = this.#plain ? this.#inOrder.shift() : this.#open[message.id];
    if (call === undefined) {
      if (this.gone) return;
      throw new ProtocolError(`Expected the answer of an open call, got one of id ${message.id}`);
    }
    if (call === GIVEN_UP) {
      message.release();
      this.#endGivenUp(message.id);
      return;
    }
    this.#openCount--;
    // It may end before all of it was sent (refused, too large), or in the middle of an input item.
    if (this.#cutOff(message.id)) this.lane.flush();
    this.#freeId(message.id);
    if (message.kind === KIND_RESPONSE) call.onResponse(message);
    else if (message.kind === KIND_END) {
      message.release();
      call.onEnd();
    } else {
      const error = decodeFailure(message.payload);
      message.release();
      call.fail(error);
    }
  }

  /** Stops what is half sent of a call, and tells the server that it ends there. False when nothing of it is half sent. */
  #cutOff(id: number): boolean {
    const { sending } = this.lane;
    if (sending === undefined || this.#plain || sending.id !== id) return false;
    this.lane.abandon(sending);
    this.channel.trySend('control', KIND_CANCEL, id, 0, NO_BYTES);
    return true;
  }

  #freeId(id: number): void {
    if (this.#plain) return;
    this.#open[id] = undefined;
    this.#freeIds[this.#freeCount++] = id;
  }

  #onCredit(frame: Frame): void {
    if ((frame.flags & FLAG_IN_PLACE) !== 0) return;
    const payload = frame.payload;
    if (payload.length !== 4) throw new ProtocolError(`Expected credit of 4 bytes, got ${payload.length}`);
    const call = this.#open[frame.id];
    if (call instanceof StreamCall) {
      call.sender?.give(new DataView(payload.buffer, payload.byteOffset).getUint32(0, true));
    }
  }

  /** The handler wants no more input. */
  #onCancelInput(frame: Frame): void {
    if ((frame.flags & FLAG_IN_PLACE) !== 0) return;
    const call = this.#open[frame.id];
    if (!(call instanceof StreamCall) || call.kind !== KIND_DUPLEX_REQUEST) return;
    if (this.lane.sending?.id === frame.id) {
      // A part of an item is out: its error discards it.
      const error = new IpcError('ERR_IPC_CANCELLED', 'The input was cancelled');
      call.stopInput(new ErrorEntry(frame.id, encodeOwnError(error)));
    } else call.stopInput();
  }

  #acceptAssembly(kind: number, id: number, totalBytes: number): boolean {
    const { maxMessageBytes } = this.#host.settings;
    if (kind === KIND_ONE_WAY) return totalBytes <= maxMessageBytes && totalBytes <= this.#host.settings.windowBytes;
    if (kind !== KIND_RESPONSE && kind !== KIND_ITEM) {
      throw new ProtocolError(`Expected fragments of a response, an item or a push, got kind ${kind}`);
    }
    const call = this.#open[id];
    if (call === undefined) throw new ProtocolError(`Expected fragments of an open call, got id ${id}`);
    if (call === GIVEN_UP) {
      return false;
    }
    if (totalBytes > maxMessageBytes) {
      const error = new MessageTooLargeError(totalBytes, maxMessageBytes, "the client's");
      this.#open[id] = GIVEN_UP;
      this.#givenUp++;
      if (!this.#cutOff(id) && kind === KIND_ITEM) this.channel.trySend('control', KIND_CANCEL, id, 0, NO_BYTES);
      call.fail(error);
      this.lane.flush();
      return false;
    }
    return true;
  }

  #onAssembled(assembly: Assembly): void {
    try {
      const message = assembly.take();
      if (this.#held.complete(assembly, message)) this.#takeHeld(message.id);
      else this.#takeMessage(message);
    } catch (error) {
      this.#onBroken(error);
    }
    if (this.draining) this.#checkDrained();
  }

  /** Takes what is whole of a call, in order. */
  #takeHeld(id: number): void {
    // Taking one frees memory, which may complete the next from inside: the running loop takes that one too.
    this.#whole.push(id);
    if (this.#whole.length > 1) return;
    for (let at = 0; at < this.#whole.length; at++) {
      const each = this.#whole[at] ?? id;
      for (let next = this.#held.shift(each); next !== undefined; next = this.#held.shift(each)) {
        this.#takeMessage(next);
      }
    }
    this.#whole = [];
  }

  /** The terminal frame of a given up call came. */
  #endGivenUp(id: number): void {
    this.#openCount--;
    this.#givenUp--;
    this.#freeId(id);
  }

  // ---- the end ----

  #checkDrained(): void {
    if (this.draining && !this.gone && this.#openCount === 0 && this.lane.idle) this.#host.onDrained(this);
  }

  #onBroken(cause: unknown): void {
    if (this.gone) return;
    const problem = cause instanceof IpcError ? cause : new ProtocolError('Expected readable frames', { cause });
    this.#onClosed('protocol', problem);
    void this.channel.close('protocol').catch(() => undefined);
  }

  #takeUnsent(): Call[] {
    const unsent: Call[] = [];
    for (const entry of this.lane.takeUnsent()) {
      // Items of streams wait in the lane as well; they go down with their call.
      if (!isCall(entry)) continue;
      if (entry.id >= 0 && entry.kind !== KIND_ONE_WAY) this.#unregister(entry);
      entry.id = -1;
      entry.connection = undefined;
      if (!entry.settled) unsent.push(entry);
    }
    return unsent;
  }

  #onClosed(reason: DisconnectReason, error: Error | undefined): void {
    if (this.gone) return;
    this.gone = true;
    const sending = this.lane.sending;
    const unsent = this.#takeUnsent();
    this.#assembler.close();
    this.#held.clear();
    const failure =
      error instanceof IpcError ? error : new PeerGoneError(`The server left: ${reason}`, error && { cause: error });
    const open = this.#plain ? this.#inOrder.drain() : this.#open.splice(0);
    this.#openCount = 0;
    this.#givenUp = 0;
    // First, because whoever is told of a failure may try again at once: that must not come to this connection.
    this.#host.onGone(this, reason, error, unsent);
    for (const call of open) if (call !== undefined && call !== GIVEN_UP) call.fail(failure);
    // It has no id, so it was not among them. One that has may be another call by now.
    if (sending !== undefined && isCall(sending) && sending.kind === KIND_ONE_WAY) sending.fail(failure);
  }
}

/** What plain framing cannot express. */
export function plainLacks(what: string): IpcError {
  return new IpcError('ERR_IPC_UNSUPPORTED', `Plain framing has no ${what}: connect with framing "spanwire" for them`);
}

function isCall(entry: LaneEntry): entry is Call {
  return 'settled' in entry;
}

class ErrorEntry implements LaneEntry {
  readonly kind = KIND_ERROR;
  readonly id: number;
  readonly payload: Uint8Array;
  readonly extension = undefined;

  constructor(id: number, payload: Uint8Array) {
    this.id = id;
    this.payload = payload;
  }

  begin(): boolean {
    return true;
  }

  sent(): void {}
}
