/** One hub and what lives in its slots: gives each batch to those it concerns, and looks again before the hub spins. */
import type { Bytes } from '@spanwire/ipc-core';
import {
  addon,
  STATE_AWAKE,
  STATE_EXPECTING,
  STATE_HOPELESS,
  STATE_PATIENCE,
  type Hub,
  type HubOptions,
} from './addon.ts';
import { translating } from './failures.ts';
import {
  CONTROL_LANE,
  COPY_PLACE_BYTES,
  COPY_PLACES,
  EVENT_ACCEPTED,
  EVENT_BIT,
  EVENT_CLOSED,
  EVENT_DEAF,
  EVENT_READABLE,
  EVENT_ROOM,
  EVENT_VIOLATED,
  SLOT_MASK,
} from './layout.ts';
import { PumpTimers } from './pump-timers.ts';

/** How often a batch is asked for from microtasks before the hub spins by itself: a turn of microtasks costs less than a callback. */
const REPOLLS = 32;
/** How often `collect` looks again before it gives up: some 20 ns each, where a round of microtasks costs 100. */
const PATIENCE = 32;
/** From so many entries on a batch is throughput: what is sent meanwhile is published in portions. */
const LARGE_BATCH = 4;

/**
 * A thread that blocks looks around so often: a worker can be terminated only while it runs JavaScript, and flags in shared memory wake
 * nobody.
 */
const SLICE_MS = 100;
/** Reading the clock costs as much as a message, so a busy thread looks once in so many waits whether a timeout is due. */
const WAITS_PER_LOOK = 64;

const RESOLVED: Promise<void> = Promise.resolve();

/** What answers on the short way: nothing else of the request is made. */
export type ShortHandler = (clientId: number, request: Bytes) => Uint8Array | undefined;

/** What lives in a slot: a handshake at first, then a channel. */
export interface SlotOwner {
  /** A frame of the data lane, `at` its place in the batch; nothing of it may be kept but what `ShmFrame` keeps. */
  frame(offset: number, word0: number, word1: number, at: number): void;
  /** One of the control lane. */
  controlFrame(offset: number, word0: number, word1: number): void;
  /** The batch has nothing more: deliver, publish, release what {@link Pump.concern} was called for. */
  endOfBatch(): void;
  /** Handshake bytes, or the end of a handshake. */
  readable(): void;
  closed(): void;
  violated(message: string): void;
  room(lane: number): void;
  /** Answers a request that came alone, if it can go the short way; false: it goes the usual one. */
  serve?(handler: ShortHandler, offset: number, word0: number, word1: number): boolean;
}

/** Who listens on the hub. */
export interface AcceptingOwner {
  /** Undefined: the connection is not wanted. */
  accepted(slot: number): SlotOwner | undefined;
  /** The listening socket broke. */
  deaf(errno: number): void;
}

export interface PumpOptions {
  readonly spinMicros: number;
  readonly leaveSharedCpu: boolean;
  readonly wakesBy: HubOptions['wakesBy'];
  /** Whether small payloads are copied out of the ring as they are found: for those who keep copies of them anyway. */
  readonly copiesSmall: boolean;
}

export class Pump {
  readonly hub: Hub;
  readonly timers: PumpTimers = new PumpTimers();
  readonly batch: Int32Array;
  readonly #state: Int32Array;
  /** A view of each place of the hub's copies, as long as what it was last asked for. Empty where nothing is copied. */
  readonly #copies: Array<Uint8Array<ArrayBuffer>> = [];
  readonly #slots: Array<SlotOwner | undefined> = [];
  /** Owners with something to deliver or to publish when the batch ends: the first `#concernedCount`. The array never shrinks. */
  readonly #concerned: Array<SlotOwner | undefined> = [];
  #concernedCount = 0;
  accepting: AcceptingOwner | undefined;
  /** A batch is being given out: what is sent and released is published at its end. */
  handling = false;
  /** The running batch is a large one, or the microtasks after one have not run: what is sent leaves in portions. */
  crowded = false;
  #expected = 0;
  #repolls = 0;
  /** The last thing that was expected came with the batch. */
  #allCame = false;
  /** No look is on its way, and {@link expect} asks for one. */
  #looksOnDemand = false;
  #closed = false;
  #waitsToLook = 0;
  #sliceMs = SLICE_MS;
  readonly #repoll = (): void => {
    this.#finish();
    if (this.#closed) return;
    const count = this.hub.collect();
    if (count > 0) this.#handle(count);
    const pays = ++this.#repolls < REPOLLS && this.#state[STATE_HOPELESS] === 0;
    if (pays && !this.#closed) this.#lookAgain();
    else this.#finish();
  };

  constructor(options: PumpOptions) {
    const native = addon();
    this.hub = translating('using shared memory', () =>
      native.createHub({
        ...options,
        workLimitMicros: 1000,
        onBatch: options.wakesBy === 'nothing' ? undefined : (count) => this.#onBatch(count),
      }),
    );
    this.batch = this.hub.batch;
    this.#state = this.hub.state;
    this.#state[STATE_PATIENCE] = PATIENCE;
    const { copies } = this.hub;
    if (copies === undefined) return;
    for (let at = 0; at < COPY_PLACES; at++) this.#copies.push(new Uint8Array(copies.buffer, at * COPY_PLACE_BYTES, 0));
  }

  /** Gives a slot to `owner`, or takes it away. */
  own(slot: number, owner: SlotOwner | undefined): void {
    while (this.#slots.length <= slot) this.#slots.push(undefined);
    this.#slots[slot] = owner;
  }

  /** The owner wants `endOfBatch`, once for each call of this. Only while {@link handling} or {@link crowded}. */
  concern(owner: SlotOwner): void {
    this.#concerned[this.#concernedCount++] = owner;
  }

  /** One more thing is expected to come, or (-1) came: spinning pays meanwhile. */
  expect(change: number): void {
    this.#expected += change;
    this.#state[STATE_EXPECTING] = this.#expected;
    this.#allCame = change < 0 && this.#expected === 0;
    if (!this.#looksOnDemand || change < 0) return;
    this.#looksOnDemand = false;
    if (this.#state[STATE_AWAKE] !== 0) void RESOLVED.then(this.#repoll);
  }

  /** Something was sent to `slot` that is answered: a sleeping hub wakes up to wait for it. */
  wakeFor(slot: number): void {
    if (this.#state[STATE_AWAKE] === 0) this.hub.kick(slot);
  }

  /** The payload of the entry of {@link batch} at `at`, out of the ring, until the next batch. Undefined: it is only there. */
  copyAt(at: number, length: number): Uint8Array<ArrayBuffer> | undefined {
    const view = this.#copies[at];
    return view === undefined || view.length === length ? view : this.#copyOfLength(at, length, view.buffer);
  }

  #copyOfLength(at: number, length: number, buffer: ArrayBuffer): Uint8Array<ArrayBuffer> | undefined {
    if (length > COPY_PLACE_BYTES) return undefined;
    const view = new Uint8Array(buffer, at * COPY_PLACE_BYTES, length);
    this.#copies[at] = view;
    return view;
  }

  /** Takes what is there, without waiting. */
  poll(): void {
    if (this.handling || this.#closed) return;
    for (let count = this.hub.look(); count > 0 && !this.#closed; count = this.hub.collect()) this.handle(count);
  }

  /** The thread blocks from now on: nothing runs but from {@link wait}. */
  block(): void {
    this.timers.block();
  }

  /** Blocks until something comes, and handles it: `timeoutMs` at most, and a tenth of a second. After {@link block}. */
  wait(timeoutMs: number): void {
    this.handleWaited(this.waitForBatch(timeoutMs));
  }

  /** The first half of {@link wait}: how many entries of {@link batch} came. They are for {@link handleWaited}, or the only one is the caller's. */
  waitForBatch(timeoutMs: number): number {
    const { timers } = this;
    if (timers.changed || --this.#waitsToLook <= 0) {
      this.#waitsToLook = WAITS_PER_LOOK;
      timers.runDue();
      this.#sliceMs = Math.ceil(timers.untilDue(SLICE_MS));
    }
    if (timers.hasWork) timers.runSoon();
    if (this.#closed) return 0;
    return this.hub.wait(timers.hasWork ? 0 : Math.min(timeoutMs, this.#sliceMs));
  }

  handleWaited(count: number): void {
    const { timers } = this;
    if (this.#closed) return;
    if (count > 0) {
      this.handle(count);
      this.#state[STATE_EXPECTING] = this.#expected;
    } else {
      // Who has nothing to do does not spin when a slice of its sleep is over.
      this.#state[STATE_EXPECTING] = 0;
      this.#waitsToLook = 0;
    }
    if (timers.hasWork) timers.runSoon();
  }

  /** Instead of {@link handleWaited}: answers the only entry that came. False: it is something else, and nothing has happened. */
  serveWaited(handler: ShortHandler): boolean {
    const { batch } = this;
    // Frames in the control lane and events have higher bits, and no slot.
    const owner = this.#slots[batch[0] ?? 0];
    if (owner?.serve === undefined) return false;
    this.handling = true;
    const served = owner.serve(handler, batch[1] ?? 0, batch[2] ?? 0, batch[3] ?? 0);
    // What the handler sent or released elsewhere.
    if (this.#concernedCount > 0) this.#endBatch();
    this.handling = false;
    if (served) this.#state[STATE_EXPECTING] = this.#expected;
    return served;
  }

  get closed(): boolean {
    return this.#closed;
  }

  handle(count: number): void {
    this.#handle(count);
    this.#finish();
  }

  /** Leaves a large batch open: the answers to it, which microtasks make, leave with it in portions. */
  #handle(count: number): void {
    const { batch } = this;
    this.handling = true;
    this.crowded = count > LARGE_BATCH;
    for (let i = 0, end = count * 4; i < end; i += 4) {
      const what = batch[i] ?? 0;
      if ((what & EVENT_BIT) !== 0) {
        this.#takeEvent(i);
        continue;
      }
      const owner = this.#slots[what & SLOT_MASK];
      if (owner === undefined) continue;
      if ((what & CONTROL_LANE) === 0) owner.frame(batch[i + 1] ?? 0, batch[i + 2] ?? 0, batch[i + 3] ?? 0, i >> 2);
      else owner.controlFrame(batch[i + 1] ?? 0, batch[i + 2] ?? 0, batch[i + 3] ?? 0);
    }
    // Deliveries may concern others.
    this.#endBatch();
    this.handling = false;
  }

  /** From a microtask; but where the batch brought all that was expected, not before something is sent: what sends it does not wait for this. */
  #lookAgain(): void {
    if (this.#allCame && !this.crowded) this.#looksOnDemand = true;
    else void RESOLVED.then(this.#repoll);
    this.#allCame = false;
  }

  /** Publishes what was sent since a large batch. */
  #finish(): void {
    if (!this.crowded) return;
    this.crowded = false;
    this.#endBatch();
  }

  #endBatch(): void {
    const concerned = this.#concerned;
    for (let i = 0; i < this.#concernedCount; i++) {
      const owner = concerned[i];
      concerned[i] = undefined;
      try {
        owner?.endOfBatch();
      } catch (error) {
        this.#surface(error);
      }
    }
    this.#concernedCount = 0;
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.hub.close();
  }

  #onBatch(count: number): void {
    this.#looksOnDemand = false;
    this.#handle(count);
    this.#repolls = 0;
    if (this.#closed) this.#finish();
    else this.#lookAgain();
  }

  /** An entry of the batch that is an event. */
  #takeEvent(at: number): void {
    const { batch } = this;
    try {
      this.#onEvent((batch[at] ?? 0) & SLOT_MASK, batch[at + 1] ?? 0, batch[at + 2] ?? 0, batch[at + 3] ?? 0);
    } catch (error) {
      this.#surface(error);
    }
  }

  #onEvent(slot: number, event: number, second: number, third: number): void {
    if (event === EVENT_ACCEPTED) {
      const owner = this.accepting?.accepted(slot);
      if (owner === undefined) this.hub.remove(slot);
      else this.own(slot, owner);
      return;
    }
    if (event === EVENT_DEAF) {
      this.accepting?.deaf(second);
      return;
    }
    const owner = this.#slots[slot];
    if (owner === undefined) return;
    // What came before the event is delivered before it.
    if (event === EVENT_CLOSED || event === EVENT_VIOLATED) owner.endOfBatch();
    if (event === EVENT_READABLE) owner.readable();
    else if (event === EVENT_CLOSED) owner.closed();
    else if (event === EVENT_VIOLATED) owner.violated(addon().describeViolation(second, third));
    else if (event === EVENT_ROOM) owner.room(second);
  }

  /** A callback threw: that is an uncaught exception, which must not cost the other connections their part of the batch. */
  #surface(error: unknown): void {
    this.timers.later(() => {
      throw error;
    });
  }
}
