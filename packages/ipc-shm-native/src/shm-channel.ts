/**
 * A channel on the rings of one segment: what does not depend on how the memory is reached. `MappedChannel` writes and views it
 * in place, `CopyingChannel` asks the addon.
 *
 * Positions are 32-bit and wrap, so they are kept as int32 (`| 0`), which V8 holds without boxes.
 */
import {
  FLAG_IN_PLACE,
  FLAG_MORE,
  FLAG_OVERTAKING,
  isControl,
  KIND_CANCEL,
  KIND_CREDIT,
  KIND_DUPLEX_REQUEST,
  KIND_END,
  KIND_ERROR,
  KIND_GOAWAY,
  KIND_REQUEST,
  KIND_RESPONSE,
  MAX_CONTROL_BYTES,
  MAX_WIRE_ID,
  packKindAndId,
  packLength,
  PeerGoneError,
  ProtocolError,
  type Bytes,
  type Channel,
  type DisconnectReason,
  type Frame,
  type Lane,
  type PeerHello,
  type PeerInfo,
  type ServeAlone,
  type TakeAnswer,
  type TakeRequest,
  type Timer,
} from '@spanwire/ipc-core';
import { CONTROL_PREFIX_BYTES, RECORD_HEADER_BYTES, RECORD_LENGTH_MASK, recordBytes } from './layout.ts';
import type { Pump, ShortHandler, SlotOwner } from './pump.ts';
import { ControlFrame, ShmFrame } from './shm-frame.ts';

export const DATA_LANE = 0;
export const CONTROL_LANE_INDEX = 1;
/** Both forms of the channel find it when they look for room. */
export const BROKEN_TAIL = 'Expected a peer that gives back what it was given, got one that gave back something else';

/** So many records of a large batch are published together. */
const PUBLISH_EVERY = 16;
/** Cancels that overtook data, at most: a well-behaved peer has no more calls open. */
const MAX_OVERTAKING = 65_536;
/** Control frames that wait because the peer does not read them, at most: no more calls are open. */
const MAX_WAITING_CONTROL = 65_536;
const NOTHING: Uint8Array<ArrayBuffer> = new Uint8Array(0);

export interface ShmChannelOptions {
  readonly pump: Pump;
  readonly slot: number;
  readonly isServer: boolean;
  readonly hello: PeerHello;
  readonly peer: PeerInfo | undefined;
  readonly graceMs: number;
  /** Called on a client once the server has taken it in. */
  readonly onWelcome?: (() => void) | undefined;
  /** The channel is over: whoever owns the pump may end with it. */
  readonly onOver: () => void;
}

interface Overtaking {
  readonly position: number;
  readonly kind: number;
  readonly id: number;
}

export abstract class ShmChannel implements Channel, SlotOwner {
  readonly framing = 'spanwire';
  readonly hello: PeerHello;
  readonly peer: PeerInfo | undefined;
  abstract readonly capacityBytes: number;
  /** A record is published whole. */
  readonly midFrame = false;
  onRoom: (() => void) | undefined;
  serveAlone: ServeAlone | undefined = undefined;
  takeRequest: TakeRequest | undefined = undefined;
  takeAnswer: TakeAnswer | undefined = undefined;
  onClosed: ((reason: DisconnectReason, error?: Error) => void) | undefined;
  protected readonly pump: Pump;
  protected readonly slot: number;
  protected readonly isServer: boolean;
  readonly #graceMs: number;
  readonly #onOver: () => void;
  #onWelcome: (() => void) | undefined;
  #onFrames: ((frames: readonly Frame[]) => void) | undefined;
  /** Frames of the running batch, or from before `onFrames` was set. */
  #frames: Frame[] = [];
  /** The array of the batch before, empty: the two take turns, so that no batch allocates one. */
  #spareFrames: Frame[] = [];
  /** Where reading is: the end of the last record that was taken. */
  #taken = 0;
  /** Everything before it is released. */
  #released = 0;
  /** Released out of order: start to end. */
  readonly #gaps = new Map<number, number>();
  #releasesToPublish = false;
  protected unpublished = 0;
  /** A part of the data ring is claimed: no other record is written until that is over. */
  protected claimed = false;
  #concerned = false;
  #wantsRoom = false;
  /** Control frames that found their ring full: cancels and the like in order, credit as sums. */
  readonly #controlQueue: Array<readonly [kind: number, id: number, payload: Uint8Array]> = [];
  readonly #creditQueue = new Map<number, number>();
  #overtaking: Overtaking[] = [];
  #outstanding = 0;
  #expectsRoom = 0;
  #saidGoaway = false;
  #heardGoaway = false;
  #state: 'open' | 'closing' | 'over' = 'open';
  #closed: Promise<void> | undefined;
  #resolveClosed: (() => void) | undefined;
  #graceTimer: Timer | undefined;

  constructor(options: ShmChannelOptions) {
    this.pump = options.pump;
    this.slot = options.slot;
    this.isServer = options.isServer;
    this.hello = options.hello;
    this.peer = options.peer;
    this.#graceMs = options.graceMs;
    this.#onOver = options.onOver;
    this.#onWelcome = options.onWelcome;
  }

  // ---- what depends on how the memory is reached ----

  /** Writes a data record, unpublished. False: no room. */
  protected abstract writeData(word0: number, word1: number, payload: Uint8Array): boolean;
  /** Makes written data records visible, and wakes the peer if it sleeps. */
  protected abstract publishData(): void;
  /** Writes and publishes a control record that follows the data written so far. False: no room. */
  protected abstract writeControl(word0: number, word1: number, payload: Uint8Array): boolean;
  /** The position that the peer's tail must reach for `payloadBytes` to fit. */
  protected abstract roomTarget(lane: number, payloadBytes: number): number;
  /** The data position that a control record at `offset` follows. */
  protected abstract controlPosition(offset: number): number;
  protected abstract controlPayload(offset: number, length: number): Uint8Array<ArrayBuffer>;
  /** Whether the peer has published data up to `position`. */
  protected abstract isPublished(position: number): boolean;
  /** Gives everything before `position` back, and wakes the peer if it waits for room. */
  protected abstract storeTail(position: number): void;
  abstract view(offset: number, length: number): Uint8Array<ArrayBuffer>;
  protected abstract copyOf(offset: number, length: number): Uint8Array<ArrayBuffer>;
  /** The memory is gone in a moment. */
  protected abstract forget(): void;

  // ---- as a Channel ----

  get onFrames(): ((frames: readonly Frame[]) => void) | undefined {
    return this.#onFrames;
  }

  set onFrames(value: ((frames: readonly Frame[]) => void) | undefined) {
    this.#onFrames = value;
    if (value === undefined || this.#frames.length === 0) return;
    this.pump.timers.later(() => {
      if (!this.pump.handling) this.endOfBatch();
    });
  }

  trySend(lane: Lane, kind: number, id: number, flags: number, payload: Uint8Array): boolean {
    if (this.#state !== 'open') return false;
    if (lane === 'control') {
      this.#sendControl(kind, id, payload);
      return true;
    }
    if (!this.writeData(packLength(payload.length, flags), packKindAndId(kind, id), payload)) {
      return this.#noRoomFor(kind, payload.length);
    }
    this.#afterData(kind, flags);
    return true;
  }

  #noRoomFor(kind: number, payloadBytes: number): false {
    if (payloadBytes > this.capacityBytes || isControl(kind)) this.#expectSendable(kind, payloadBytes);
    return this.#noRoom(payloadBytes);
  }

  /** False when the channel is closed. Throws on what can never be claimed. */
  protected mayClaim(kind: number, payloadBytes: number): boolean {
    if (this.claimed) {
      throw new TypeError('Expected one open claim at a time, got a second one: publish() or abort() the first');
    }
    if (isControl(kind) || !(payloadBytes <= this.capacityBytes)) this.#expectSendable(kind, payloadBytes);
    return this.#state === 'open';
  }

  /** As a send that finds no room: `onRoom` follows. */
  protected refuseClaim(payloadBytes: number): undefined {
    this.#noRoom(payloadBytes);
  }

  /** Whether what was claimed may still be written to the ring. */
  protected get isOpen(): boolean {
    return this.#state === 'open';
  }

  /** The claim is over, `published` with its record in the ring or not. Those whom it kept back may send. */
  protected claimEnded(published: boolean, kind: number, flags: number): void {
    this.claimed = false;
    if (published) this.#afterData(kind, flags);
    if (this.#wantsRoom) this.pump.timers.later(() => this.room(DATA_LANE));
  }

  /** Publishes now, or with the rest of a large batch. */
  #afterData(kind: number, flags: number): void {
    const { pump } = this;
    if (pump.crowded && ++this.unpublished < PUBLISH_EVERY) {
      if (!this.#concerned) this.#concern();
    } else {
      this.unpublished = 0;
      this.publishData();
      if (!this.isServer) pump.wakeFor(this.slot);
    }
    // Last: nothing comes before this has returned, and the peer need not wait for it.
    if (!this.isServer) this.#expectAnswer(kind, flags);
  }

  /** Asks for the end of the batch, once. */
  #concern(): void {
    this.#concerned = true;
    this.pump.concern(this);
  }

  #expectAnswer(kind: number, flags: number): void {
    if (kind > KIND_DUPLEX_REQUEST || (flags & FLAG_MORE) !== 0) return;
    this.#outstanding++;
    this.pump.expect(1);
  }

  #expectSendable(kind: number, payloadBytes: number): void {
    if (isControl(kind)) throw new TypeError(`Expected \`lane\` to be the one of kind ${kind}, got "data"`);
    throw new RangeError(`Expected \`payload\` to have at most ${this.capacityBytes} bytes, got ${payloadBytes}`);
  }

  /** Remembers that somebody wants room for `payloadBytes`. */
  #noRoom(payloadBytes: number): false {
    // What fills the ring must be seen, or it is never emptied.
    if (this.unpublished > 0) {
      this.unpublished = 0;
      this.publishData();
    }
    this.#wantsRoom = true;
    // While a claim is open it is not the peer who makes room.
    if (!this.claimed) this.#waitForRoom(DATA_LANE, payloadBytes);
    return false;
  }

  #waitForRoom(lane: number, payloadBytes: number): void {
    const bit = lane + 1;
    if ((this.#expectsRoom & bit) === 0) {
      this.#expectsRoom |= bit;
      this.pump.expect(1);
    }
    // There by now: told later, since nobody may be called back from inside a send.
    if (this.pump.hub.wantRoom(this.slot, lane, this.roomTarget(lane, payloadBytes))) {
      this.pump.timers.later(() => this.room(lane));
    } else {
      this.pump.wakeFor(this.slot);
    }
  }

  #sendControl(kind: number, id: number, payload: Uint8Array): void {
    if (!isControl(kind)) throw new TypeError(`Expected \`lane\` to be the one of kind ${kind}, got "control"`);
    if (payload.length > MAX_CONTROL_BYTES) {
      throw new RangeError(`Expected \`payload\` to have at most ${MAX_CONTROL_BYTES} bytes, got ${payload.length}`);
    }
    if (kind === KIND_GOAWAY) this.#saidGoaway = true;
    if (this.#controlQueue.length === 0 && this.#creditQueue.size === 0 && this.#writeControl(kind, id, payload)) {
      return;
    }
    if (kind === KIND_CREDIT) {
      const bytes = new DataView(payload.buffer, payload.byteOffset).getUint32(0, true);
      this.#creditQueue.set(id, (this.#creditQueue.get(id) ?? 0) + bytes);
    } else {
      this.#controlQueue.push([kind, id, payload.slice()]);
    }
    if (this.#controlQueue.length + this.#creditQueue.size > MAX_WAITING_CONTROL) {
      this.violatedLater(
        `Expected a peer that reads its control frames, got one that left ${MAX_WAITING_CONTROL} unread`,
      );
    }
    this.#waitForRoom(CONTROL_LANE_INDEX, MAX_CONTROL_BYTES + CONTROL_PREFIX_BYTES);
  }

  #writeControl(kind: number, id: number, payload: Uint8Array): boolean {
    // The position it carries must be published before it is.
    if (this.unpublished > 0) {
      this.unpublished = 0;
      this.publishData();
    }
    return this.writeControl(packLength(payload.length + CONTROL_PREFIX_BYTES, 0), packKindAndId(kind, id), payload);
  }

  /** False when the control ring is full again. */
  #flushControl(): boolean {
    for (let next = this.#controlQueue[0]; next !== undefined; next = this.#controlQueue[0]) {
      if (!this.#writeControl(...next)) return false;
      this.#controlQueue.shift();
    }
    for (const [id, bytes] of this.#creditQueue) {
      const portion = Math.min(bytes, 0xffff_ffff);
      const payload = new Uint8Array(4);
      new DataView(payload.buffer).setUint32(0, portion, true);
      if (!this.#writeControl(KIND_CREDIT, id, payload)) return false;
      if (bytes > portion) this.#creditQueue.set(id, bytes - portion);
      else this.#creditQueue.delete(id);
    }
    return true;
  }

  /** Tells the client that it is taken in: what is sent to it from now on arrives. */
  welcome(): void {
    this.#sendControl(KIND_CREDIT, 0, new Uint8Array(4));
  }

  // ---- the short ways ----

  /** For threads that block: answers the request that came alone, if it needs no books. */
  serve(handler: ShortHandler, offset: number, word0: number, word1: number): boolean {
    const start = this.#taken;
    const isRequest = word0 >>> 30 === 0 && word1 >>> 28 === KIND_REQUEST;
    if (!isRequest || !this.#nothingWaits(start) || this.#state !== 'open') return false;
    if (this.serveAlone?.(word1 & MAX_WIRE_ID, this.view(offset, word0), handler) !== true) return false;
    const end = (start + recordBytes(word0)) | 0;
    this.#taken = end;
    this.#released = end;
    this.storeTail(end);
    return true;
  }

  /** Sends a whole request past the books, for somebody who waits for its answer. False: only the usual way is open. */
  sendAlone(id: number, payload: Uint8Array): boolean {
    if (this.#state !== 'open' || this.unpublished > 0) return false;
    if (!this.writeData(payload.length, packKindAndId(KIND_REQUEST, id), payload)) return false;
    this.publishData();
    return true;
  }

  /** A copy of the whole answer to `id` when it is that which came, alone; see {@link giveBack}. Undefined: it has to go the usual way. */
  takeAlone(id: number, what: number, offset: number, word0: number, word1: number): Bytes | undefined {
    const isAnswer = what === this.slot && word0 >>> 30 === 0 && word1 >>> 0 === packKindAndId(KIND_RESPONSE, id);
    const start = this.#taken;
    if (!isAnswer || !this.#nothingWaits(start) || this.#state !== 'open') return undefined;
    const copy = this.pump.copyAt(0, word0);
    const answer = copy === undefined ? this.copyOf(offset, word0) : new Uint8Array(copy);
    const end = (start + recordBytes(word0)) | 0;
    this.#taken = end;
    this.#released = end;
    this.#releasesToPublish = true;
    return answer;
  }

  /** Whether nothing before `start` is held or waits to be delivered, and nothing was overtaken: the record that begins there may go past frames. */
  #nothingWaits(start: number): boolean {
    return start === this.#released && this.#frames.length === 0 && this.#overtaking.length === 0;
  }

  /** Gives back what {@link takeAlone} took. Apart, since the next request must not wait for it; before anything is waited for. */
  giveBack(): void {
    if (!this.#releasesToPublish || this.#state === 'over') return;
    this.#releasesToPublish = false;
    this.storeTail(this.#released);
  }

  poll(): void {
    this.pump.poll();
  }

  ref(): void {
    this.pump.hub.ref();
  }

  unref(): void {
    this.pump.hub.unref();
  }

  close(reason: DisconnectReason = 'closed'): Promise<void> {
    if (this.#closed !== undefined) return this.#closed;
    if (this.#state === 'over') return Promise.resolve();
    this.#closed = new Promise((resolve) => {
      this.#resolveClosed = resolve;
    });
    if (reason !== 'closed' && reason !== 'shutdown') {
      this.#state = 'closing';
      this.pump.timers.later(() => this.#end(reason, undefined));
      return this.#closed;
    }
    if (!this.#saidGoaway) this.#sendControl(KIND_GOAWAY, 0, NOTHING);
    if (this.unpublished > 0) {
      this.unpublished = 0;
      this.publishData();
    }
    this.#state = 'closing';
    this.#closeReason = reason;
    // Later: whoever closes may still have something to copy out of the ring.
    if (this.#controlQueue.length === 0) this.pump.timers.later(() => this.#end(reason, undefined));
    else this.#graceTimer = this.pump.timers.after(this.#graceMs, () => this.#end(reason, undefined));
    return this.#closed;
  }

  #closeReason: DisconnectReason = 'closed';

  // ---- as the owner of its slot ----

  frame(offset: number, word0: number, word1: number, at: number): void {
    if (this.#state !== 'open') return;
    const start = this.#taken;
    this.#taken = (start + recordBytes(word0 & RECORD_LENGTH_MASK)) | 0;
    if (word1 >>> 28 >= KIND_CANCEL) {
      this.violated(`Expected data frames of kind 0 to ${KIND_ERROR}, got kind ${word1 >>> 28}`);
      return;
    }
    if (!this.isServer && this.#tookAnswer(start, offset, word0, word1, at)) return;
    const frame = new ShmFrame(this, word0, word1, offset, start);
    if (
      this.takeRequest !== undefined &&
      word1 >>> 28 === KIND_REQUEST &&
      word0 >>> 30 === 0 &&
      this.#nothingWaits(start) &&
      this.takeRequest(frame)
    ) {
      return;
    }
    this.#keep(frame);
    if (this.#overtaking.length > 0) this.#catchUp();
  }

  /** Delivers the frame at the end of the batch. */
  #keep(frame: Frame): void {
    this.#frames.push(frame);
    if (!this.#concerned) this.#concern();
  }

  /** Notes what ends a call; a whole answer goes past frames to it. False: there has to be a frame. */
  #tookAnswer(start: number, offset: number, word0: number, word1: number, at: number): boolean {
    const kind = word1 >>> 28;
    if (kind !== KIND_RESPONSE && kind !== KIND_END && kind !== KIND_ERROR) return false;
    if (((word0 >>> 30) & FLAG_MORE) !== 0 || this.#outstanding === 0) return false;
    this.#outstanding--;
    this.pump.expect(-1);
    if (
      kind !== KIND_RESPONSE ||
      word0 >>> 30 !== 0 ||
      this.takeAnswer === undefined ||
      !this.#nothingWaits(start) ||
      !this.takeAnswer(word1 & MAX_WIRE_ID, this.pump.copyAt(at, word0) ?? this.view(offset, word0))
    ) {
      return false;
    }
    this.#released = this.#taken;
    this.#releasesToPublish = true;
    if (!this.#concerned) this.#concern();
    return true;
  }

  controlFrame(offset: number, word0: number, word1: number): void {
    if (this.#state !== 'open') return;
    const kind = word1 >>> 28;
    const id = word1 & MAX_WIRE_ID;
    const flags = word0 >>> 30;
    const length = word0 & RECORD_LENGTH_MASK;
    if (kind < KIND_CANCEL || kind > KIND_CREDIT || flags !== 0) {
      this.violated(`Expected whole control frames of kind ${KIND_CANCEL} to ${KIND_CREDIT}, got kind ${kind}`);
      return;
    }
    const position = this.controlPosition(offset);
    const payload = this.controlPayload(offset + CONTROL_PREFIX_BYTES, length - CONTROL_PREFIX_BYTES);
    if (kind === KIND_GOAWAY) this.#heardGoaway = true;
    if (kind === KIND_CREDIT && id === 0) {
      // The rings are the window, so there is no credit to give: on this transport it welcomes the client.
      const onWelcome = this.#onWelcome;
      this.#onWelcome = undefined;
      onWelcome?.();
      return;
    }
    const ahead = (position - this.#taken) | 0;
    if (ahead <= 0) {
      this.#keep(new ControlFrame(kind, id, 0, payload));
      return;
    }
    if (!this.isPublished(position)) {
      this.violated('Expected a control frame that follows published data, got one that follows data to come');
      return;
    }
    this.#keep(new ControlFrame(kind, id, FLAG_OVERTAKING, payload));
    // Credit acts once, wherever it is.
    if (kind === KIND_CREDIT) return;
    this.#overtaking.push({ position, kind, id });
    if (this.#overtaking.length > MAX_OVERTAKING) {
      this.violated(`Expected at most ${MAX_OVERTAKING} control frames ahead of their data, got more`);
    }
  }

  /** Delivers again, in their place, the control frames whose position has been reached. */
  #catchUp(): void {
    let reached = 0;
    for (const { position, kind, id } of this.#overtaking) {
      if (((position - this.#taken) | 0) > 0) break;
      reached++;
      this.#frames.push(new ControlFrame(kind, id, FLAG_IN_PLACE, NOTHING));
    }
    if (reached > 0) this.#overtaking = this.#overtaking.slice(reached);
  }

  endOfBatch(): void {
    const frames = this.#frames;
    try {
      if (frames.length > 0 && this.#onFrames !== undefined && this.#state === 'open') {
        this.#frames = this.#spareFrames;
        this.#onFrames(frames);
      }
    } finally {
      if (frames !== this.#frames) {
        while (frames.length > 0) frames.pop();
        this.#spareFrames = frames;
      }
      if (this.unpublished > 0) {
        this.unpublished = 0;
        this.publishData();
      }
      if (this.#releasesToPublish) {
        this.#releasesToPublish = false;
        if (this.#state !== 'over') this.storeTail(this.#released);
      }
      this.#concerned = false;
    }
  }

  readable(): void {}

  closed(): void {
    if (this.#heardGoaway) this.#end('closed', undefined);
    else this.#end('gone', new PeerGoneError('The peer ended the connection without saying goodbye'));
  }

  violated(message: string): void {
    this.#frames = [];
    this.#end('protocol', new ProtocolError(message));
  }

  /** As {@link violated}, for what is found while sending: nobody is called back from inside of that. */
  protected violatedLater(message: string): void {
    this.pump.timers.later(() => this.violated(message));
  }

  room(lane: number): void {
    if (this.#state === 'over') return;
    const bit = lane + 1;
    if ((this.#expectsRoom & bit) !== 0) {
      this.#expectsRoom &= ~bit;
      this.pump.expect(-1);
    }
    if (lane === CONTROL_LANE_INDEX) {
      if (!this.#flushControl()) this.#waitForRoom(CONTROL_LANE_INDEX, MAX_CONTROL_BYTES + CONTROL_PREFIX_BYTES);
      else if (this.#state === 'closing') this.#end(this.#closeReason, undefined);
      return;
    }
    if (!this.#wantsRoom || this.#state !== 'open') return;
    this.#wantsRoom = false;
    this.onRoom?.();
  }

  // ---- releasing ----

  /** Called by frames. Bytes go back to the peer in the order of the ring, whatever order they are released in. */
  releaseRecord(start: number, length: number): void {
    if (this.#state === 'over') return;
    const end = (start + recordBytes(length)) | 0;
    if (start !== this.#released) {
      this.#gaps.set(start, end);
      return;
    }
    let released = end;
    if (this.#gaps.size > 0) {
      for (let next = this.#gaps.get(released); next !== undefined; next = this.#gaps.get(released)) {
        this.#gaps.delete(released);
        released = next;
      }
    }
    this.#released = released;
    if (!this.pump.handling) {
      this.storeTail(released);
      return;
    }
    this.#releasesToPublish = true;
    if (!this.#concerned) this.#concern();
  }

  // ---- the end ----

  #end(reason: DisconnectReason, error: Error | undefined): void {
    if (this.#state === 'over') return;
    this.#graceTimer?.cancel();
    // Before the memory goes: what was received and may still be delivered is copied out of it.
    this.#state = 'closing';
    this.onClosed?.(reason, error);
    this.#state = 'over';
    this.#frames = [];
    // Answers of the batch that ended it: the memory that they are in is gone.
    this.unpublished = 0;
    this.#gaps.clear();
    this.#overtaking = [];
    this.pump.expect(-this.#outstanding - (this.#expectsRoom & 1) - (this.#expectsRoom >> 1));
    this.#outstanding = 0;
    this.#expectsRoom = 0;
    this.pump.own(this.slot, undefined);
    this.forget();
    this.pump.hub.remove(this.slot);
    this.#onOver();
    this.#resolveClosed?.();
  }
}

/** What a data record of `payloadBytes` takes, and so what the largest one that a ring holds may have. */
export function capacityOf(ringBytes: number): number {
  return ringBytes - RECORD_HEADER_BYTES;
}
