/** A channel in plain framing on the two rings of this layout. */
import {
  PeerGoneError,
  ProtocolError,
  type Channel,
  type DisconnectReason,
  type Frame,
  type Lane,
  type PeerInfo,
} from '@spanwire/ipc-core';
import type { Inlet } from './inlet.ts';
import { UnderWay } from './under-way.ts';
import {
  EVENT_BROKEN,
  EVENT_GONE,
  EVENT_LEFT,
  EVENT_ROOM,
  STATE_AWAKE,
  STATE_EXPECTING,
  STATE_GUARDED,
  type Wire,
} from './wire.ts';

export interface BarretenbergChannelOptions {
  readonly wire: Wire;
  readonly side: 'server' | 'client';
  readonly peer: PeerInfo | undefined;
  readonly inlet: Inlet;
  /** The channel is over; the wire is still open. `byPeer`: the other side ended, or left. */
  readonly onOver: (byPeer: boolean) => void;
}

export class BarretenbergChannel implements Channel {
  readonly framing = 'plain';
  readonly hello = undefined;
  readonly peer: PeerInfo | undefined;
  readonly capacityBytes: number;
  /** A message is published whole. */
  readonly midFrame = false;
  onRoom: Channel['onRoom'];
  onClosed: Channel['onClosed'];
  readonly #wire: Wire;
  readonly #state: Int32Array;
  readonly #isServer: boolean;
  readonly #inlet: Inlet;
  readonly #onOver: (byPeer: boolean) => void;
  #onFrames: Channel['onFrames'];
  /** Frames that came before somebody took them. */
  #early: Frame[] = [];
  /** Requests of a client that were not answered. */
  #outstanding = 0;
  /** Undefined where their number does not matter. */
  readonly #underWay: UnderWay | undefined;
  #wantsRoom = false;
  /** What is under way is enough, and somebody wants to send. */
  #heldBack = false;
  #open = true;
  readonly #closed: Promise<void>;
  #resolveClosed!: () => void;

  constructor(options: BarretenbergChannelOptions) {
    this.#wire = options.wire;
    this.#state = options.wire.state;
    this.#isServer = options.side === 'server';
    this.peer = options.peer;
    this.capacityBytes = options.wire.largestOut;
    this.#inlet = options.inlet;
    this.#underWay = this.#isServer || options.wire.peerWaits() ? undefined : new UnderWay(options.wire.capacityIn);
    this.#inlet.stopped = true;
    this.#inlet.onSpace = () => {
      // Not in the call of `release()`, which may come from inside a delivery.
      if (this.#wantsRoom) process.nextTick(() => this.event(EVENT_ROOM));
    };
    this.#onOver = options.onOver;
    this.#closed = new Promise((resolve) => {
      this.#resolveClosed = resolve;
    });
    // A request may come at any time: after one, the next is worth some spinning.
    this.#state[STATE_EXPECTING] = this.#isServer ? 1 : 0;
  }

  get onFrames(): Channel['onFrames'] {
    return this.#onFrames;
  }

  set onFrames(value: Channel['onFrames']) {
    this.#onFrames = value;
    if (!this.#open) return;
    this.#inlet.stopped = value === undefined;
    if (value === undefined || this.#early.length === 0) return;
    // Not inside the setter: whoever sets one callback after the other must not be called in between.
    process.nextTick(() => this.#deliverEarly());
  }

  trySend(lane: Lane, _kind: number, _id: number, _flags: number, payload: Uint8Array): boolean {
    if (!this.#open) return false;
    // There is no such lane here: what would go there is accepted, and vanishes.
    if (lane === 'control') return true;
    const { length } = payload;
    if (length > this.capacityBytes) {
      throw new RangeError(`Expected \`payload\` to have at most ${this.capacityBytes} bytes, got ${length}`);
    }
    if (!this.#isServer && (this.#inlet.full || this.#asksEnough)) {
      this.#heldBack = this.#asksEnough;
      this.#wantsRoom = true;
      return false;
    }
    const sent = this.#wire.send(payload);
    if (sent === 1 || (sent === 0 && this.#wire.wantRoom(length) && this.#wire.send(payload) === 1)) {
      if (!this.#isServer) this.#expectAnswer();
      return true;
    }
    // A broken ring is reported by the next turn.
    this.#wantsRoom = true;
    if (sent < 0) this.#wire.kick();
    return false;
  }

  poll(): void {
    while (this.#open) {
      const count = this.#wire.collect();
      if (count === 0) return;
      this.batch(count);
    }
  }

  close(reason: DisconnectReason = 'closed'): Promise<void> {
    // What was accepted is in the ring, where the peer finds it also when this side is gone.
    this.#end(reason, undefined, false);
    return this.#closed;
  }

  ref(): void {
    this.#wire.ref();
  }

  unref(): void {
    this.#wire.unref();
  }

  // ---- called by whoever owns the wire ----

  batch(count: number): void {
    if (!this.#open) return;
    let frames: Frame[];
    try {
      frames = this.#inlet.take(count);
    } catch (error) {
      this.#end('protocol', error as Error, false);
      return;
    }
    if (!this.#isServer) this.#answered(frames.length);
    if (this.#onFrames === undefined || this.#early.length > 0) this.#early.push(...frames);
    else this.#onFrames(frames);
    if (!this.#open) return;
    this.#inlet.batchEnd();
    if (!this.#heldBack || this.#asksEnough) return;
    this.#heldBack = false;
    this.event(EVENT_ROOM);
  }

  event(event: number): void {
    if (event === EVENT_ROOM) {
      if (!this.#wantsRoom || !this.#open) return;
      this.#wantsRoom = false;
      this.onRoom?.();
    } else if (event === EVENT_LEFT) {
      this.#end('closed', undefined, true);
    } else if (event === EVENT_GONE) {
      this.#end('gone', new PeerGoneError(`The process on the other side ended${this.#whichProcess()}`), true);
    } else if (event === EVENT_BROKEN) {
      const error = new ProtocolError(`Expected a ring as a correct peer leaves it, got: ${this.#wire.fault()}`);
      this.#end('protocol', error, false);
    }
  }

  get #asksEnough(): boolean {
    return this.#underWay !== undefined && this.#outstanding >= this.#underWay.limit;
  }

  #whichProcess(): string {
    return this.peer === undefined ? '' : ` (pid ${this.peer.pid})`;
  }

  #expectAnswer(): void {
    this.#state[STATE_EXPECTING] = ++this.#outstanding;
    if (this.#state[STATE_AWAKE] === 0 || this.#state[STATE_GUARDED] === 0) this.#wire.kick();
  }

  #answered(count: number): void {
    this.#underWay?.came(count, this.#inlet.largestTaken);
    this.#outstanding = Math.max(0, this.#outstanding - count);
    this.#state[STATE_EXPECTING] = this.#outstanding;
  }

  #deliverEarly(): void {
    if (!this.#open || this.#onFrames === undefined) return;
    const frames = this.#early;
    this.#early = [];
    this.#onFrames(frames);
    if (this.#open) this.#inlet.batchEnd();
  }

  #end(reason: DisconnectReason, error: Error | undefined, byPeer: boolean): void {
    if (!this.#open) return;
    this.#open = false;
    this.#early = [];
    this.#inlet.retire();
    this.#onOver(byPeer);
    process.nextTick(() => {
      this.onClosed?.(reason, error);
      this.#resolveClosed();
    });
  }
}
