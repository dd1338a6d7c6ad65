// @ts-check
/**
 * The least that a program in JavaScript does with these rings: no ids, no checks, no windows, no cancellation. The server is an Observable with
 * `map` and a sink; the client gives out answers as copies of their own. How far Spanwire may get, where `floor.cpp` says what the processors
 * allow; apps/bench measures both beside it. The pair that blocks is for blocking.mjs.
 */
import { Observable } from 'rxjs';
import { map } from 'rxjs/operators';
import { addon, STATE_AWAKE, STATE_EXPECTING, STATE_PATIENCE } from '../dist/addon.js';
import {
  areasOf,
  CLIENT_WORDS,
  CONTROL_BLOCK_WORDS,
  EVENT_ACCEPTED,
  EVENT_BIT,
  EVENT_READABLE,
  recordBytes,
  SERVER_WORDS,
  SLOT_MASK,
} from '../dist/layout.js';

const RING_BYTES = 2 ** 20;
/** As in the product: looks from microtasks in a row, looks without a message in each, and when messages leave in portions. */
const LOOKS = 32;
const PATIENCE = 32;
const LARGE_BATCH = 4;
const PUBLISH_EVERY = 16;

const RESOLVED = Promise.resolve();
// oxlint-disable-next-line typescript/unbound-method -- called with its receiver
const copyInto = Uint8Array.prototype.set;

/** A hub with one connection. */
class Party {
  #looks = 0;
  #look = () => {
    const count = this.hub.collect();
    if (count > 0) this.take(count);
    if (++this.#looks < LOOKS) void RESOLVED.then(this.#look);
  };

  /**
   * @param {boolean} isServer
   * @param {'loop' | 'nothing'} wakesBy
   */
  constructor(isServer, wakesBy) {
    this.isServer = isServer;
    this.hub = addon().createHub({
      spinMicros: 50,
      workLimitMicros: 1000,
      leaveSharedCpu: true,
      copiesSmall: false,
      wakesBy,
      onBatch: (count) => {
        this.take(count);
        this.#looks = 0;
        void RESOLVED.then(this.#look);
      },
    });
    this.hub.state[STATE_PATIENCE] = PATIENCE;
    this.batch = this.hub.batch;
    /** @type {(slot: number, event: number) => void} */
    this.onEvent = () => undefined;
    /** @type {(count: number) => void} */
    this.onFrames = () => undefined;
    this.slot = 0;
    this.head = 0;
    this.taken = 0;
    this.unpublished = 0;
    this.outstanding = 0;
    this.words = this.hub.state;
    this.buffer = new ArrayBuffer(0);
    this.bytesOut = new Uint8Array(0);
    this.wordsOut = new Int32Array(0);
    this.offsetIn = 0;
  }

  get side() {
    return this.isServer ? SERVER_WORDS : CLIENT_WORDS;
  }

  /** @param {number} slot */
  start(slot) {
    const memory = this.hub.memory(slot, true);
    const { buffer } = memory;
    if (buffer === undefined) throw new Error('Expected a runtime that lets JavaScript see foreign memory');
    const { request, response } = areasOf(memory);
    const out = this.isServer ? response : request;
    this.slot = slot;
    this.buffer = buffer;
    this.words = new Int32Array(buffer, memory.controlOffset, CONTROL_BLOCK_WORDS);
    this.bytesOut = new Uint8Array(buffer, out, 2 * RING_BYTES);
    this.wordsOut = new Int32Array(buffer, out, RING_BYTES / 2);
    this.offsetIn = this.isServer ? request : response;
    this.hub.goLive(slot, this.isServer);
  }

  /** @param {Uint8Array} payload */
  write(payload) {
    const at = this.head & (RING_BYTES - 1);
    this.wordsOut[at >> 2] = payload.length;
    copyInto.call(this.bytesOut, payload, at + 8);
    this.head = (this.head + recordBytes(payload.length)) | 0;
  }

  publish() {
    this.unpublished = 0;
    Atomics.store(this.words, this.side.dataHeadOut, this.head);
    if (Atomics.load(this.words, this.side.peerWaitingData) !== 0) this.hub.ring(this.slot);
  }

  /**
   * A view of what the entry at `i` says, which is taken.
   *
   * @param {number} i
   */
  view(i) {
    const length = this.batch[i + 2] ?? 0;
    this.taken = (this.taken + recordBytes(length)) | 0;
    return new Uint8Array(this.buffer, this.offsetIn + (this.batch[i + 1] ?? 0), length);
  }

  release() {
    Atomics.store(this.words, this.side.dataTailIn, this.taken);
  }

  /** @param {number} count */
  take(count) {
    const first = this.batch[0] ?? 0;
    if ((first & EVENT_BIT) === 0) this.onFrames(count);
    else this.onEvent(first & SLOT_MASK, this.batch[1] ?? 0);
  }
}

/** @typedef {{ clientId: number, requestId: number, span: Uint8Array }} Request */

/**
 * Echoes to the one client that comes.
 *
 * @param {string} path
 */
export function serve(path) {
  const party = new Party(true, 'loop');
  let isLarge = false;
  /** @type {import('rxjs').Subscriber<Request> | undefined} */
  let requests;
  new Observable((/** @type {import('rxjs').Subscriber<Request>} */ subscriber) => {
    requests = subscriber;
  })
    .pipe(map(({ clientId, requestId, span }) => ({ clientId, requestId, data: span })))
    .subscribe({
      next({ data }) {
        party.write(data);
        if (!isLarge || ++party.unpublished === PUBLISH_EVERY) party.publish();
      },
    });
  party.onFrames = (count) => {
    isLarge = count > LARGE_BATCH;
    for (let i = 0; i < count * 4; i += 4) requests?.next({ clientId: 1, requestId: 1, span: party.view(i) });
    if (party.unpublished > 0) party.publish();
    party.release();
  };
  listen(party, path);
}

/**
 * @param {Party} party
 * @param {string} path
 */
function listen(party, path) {
  party.onEvent = (slot, event) => {
    if (event === EVENT_ACCEPTED) party.hub.createMemory(slot, RING_BYTES, RING_BYTES, false);
    else if (event === EVENT_READABLE && party.hub.receiveHandshake(slot, new Uint8Array(1), false) === 1) {
      party.hub.sendHandshake(slot, new Uint8Array(1), true);
      party.start(slot);
    } else process.exit();
  };
  party.hub.state[STATE_EXPECTING] = 1;
  party.hub.bind(path, 0o600);
  party.hub.publish(false);
}

/**
 * Connects, and calls back when the rings are there.
 *
 * @param {Party} party
 * @param {string} path
 * @param {() => void} onStarted
 */
function meet(party, path, onStarted) {
  const { hub } = party;
  const slot = hub.connect(path, 1000);
  hub.sendHandshake(slot, new Uint8Array(1), false);
  party.onEvent = (_slot, event) => {
    if (event !== EVENT_READABLE || hub.receiveHandshake(slot, new Uint8Array(1), true) !== 1) process.exit();
    hub.openMemory(slot);
    party.start(slot);
    onStarted();
  };
}

/**
 * As {@link serve}, in a thread that blocks: until the client has left.
 *
 * @param {string} path
 */
export function serveBlocking(path) {
  const party = new Party(true, 'nothing');
  listen(party, path);
  party.onFrames = (count) => {
    for (let i = 0; i < count * 4; i += 4) party.write(party.view(i));
    party.publish();
    party.release();
  };
  for (;;) party.take(party.hub.wait(-1));
}

/**
 * Connects to {@link serveBlocking}: a function that sends and waits for the answer.
 *
 * @param {string} path
 * @returns {(message: Uint8Array) => Uint8Array}
 */
export function connectBlocking(path) {
  const party = new Party(false, 'nothing');
  const { hub } = party;
  const met = { started: false };
  meet(party, path, () => {
    met.started = true;
  });
  while (!met.started) party.take(hub.wait(-1));
  hub.state[STATE_EXPECTING] = 1;
  return (message) => {
    party.write(message);
    party.publish();
    if (hub.wait(-1) !== 1) throw new Error('Expected one answer');
    const answer = new Uint8Array(party.view(0));
    party.release();
    return answer;
  };
}

/**
 * Connects to it: `post` sends, `onAnswer` gets each answer, in order.
 *
 * @param {string} path
 * @returns {Promise<{ post(message: Uint8Array): void, onAnswer: (answer: Uint8Array, count: number) => void }>}
 */
export async function connect(path) {
  const party = new Party(false, 'loop');
  const { hub } = party;
  const { state } = hub;
  await new Promise((resolve) => {
    meet(party, path, () => resolve(undefined));
  });

  let isLarge = false;
  const finish = () => {
    isLarge = false;
    if (party.unpublished > 0) party.publish();
  };
  /** @type {Awaited<ReturnType<typeof connect>>} */
  const client = {
    onAnswer: () => undefined,
    post(message) {
      party.write(message);
      if (!isLarge || ++party.unpublished === PUBLISH_EVERY) party.publish();
      state[STATE_EXPECTING] = ++party.outstanding;
      if (state[STATE_AWAKE] === 0) hub.kick(party.slot);
    },
  };
  party.onFrames = (count) => {
    isLarge = count > LARGE_BATCH;
    for (let i = 0; i < count * 4; i += 4) {
      state[STATE_EXPECTING] = --party.outstanding;
      client.onAnswer(new Uint8Array(party.view(i)), 1);
    }
    party.release();
    if (isLarge) void RESOLVED.then(finish);
  };
  return client;
}
