/** A channel whose memory JavaScript sees: it writes records, publishes and releases by itself, without a native call. */
import { packKindAndId, packLength, type Claim } from '@spanwire/ipc-core';
import type { Memory } from './addon.ts';
import { publish } from './handshake.ts';
import {
  CLIENT_WORDS,
  CONTROL_BLOCK_WORDS,
  areasOf,
  CONTROL_PREFIX_BYTES,
  RECORD_ALIGNMENT,
  RECORD_HEADER_BYTES,
  recordBytes,
  SERVER_WORDS,
} from './layout.ts';
import { RingClaim } from './ring-claim.ts';
import { BROKEN_TAIL, capacityOf, DATA_LANE, ShmChannel, type ShmChannelOptions } from './shm-channel.ts';

/** Looked up once: V8 looks methods of typed arrays up each time, which costs as much as copying 64 bytes. */
// oxlint-disable-next-line typescript/unbound-method -- called with its receiver
const copyInto = Uint8Array.prototype.set;

/** As `copy_piece_bytes` of `native/ring/copy.hpp`, which says why. */
const COPY_PIECE_BYTES: number = 256 * 1024;

export class MappedChannel extends ShmChannel {
  readonly capacityBytes: number;
  #buffer: ArrayBuffer;
  /** The control block. Only Atomics touch what the peer writes. */
  #words: Int32Array;
  // The words of `#words` that this side uses; layout.ts names them.
  readonly #dataHeadOut: number;
  readonly #controlHeadOut: number;
  readonly #dataTailOut: number;
  readonly #controlTailOut: number;
  readonly #dataHeadIn: number;
  readonly #dataTailIn: number;
  readonly #peerWaitingData: number;
  readonly #peerWaitingSpace: number;
  /** Where the data ring that is read begins. */
  readonly #dataIn: number;
  readonly #dataCapacity: number;
  readonly #dataMask: number;
  readonly #dataOut: number;
  #dataBytes: Uint8Array;
  #dataWords: Int32Array;
  #dataHead = 0;
  /** The peer's tail as last seen: it only grows, so looking again is needed only when the room seems short. */
  #dataTail = 0;
  #claim: RingClaim | undefined;
  readonly #controlCapacity: number;
  #controlInBytes: Uint8Array<ArrayBuffer>;
  #controlInWords: Int32Array;
  #controlBytes: Uint8Array;
  #controlWords: Int32Array;
  #controlHead = 0;
  #controlTail = 0;

  constructor(options: ShmChannelOptions, memory: Memory, buffer: ArrayBuffer) {
    super(options);
    const { isServer } = this;
    const words = isServer ? SERVER_WORDS : CLIENT_WORDS;
    const areas = areasOf(memory);
    this.#buffer = buffer;
    this.#words = new Int32Array(buffer, memory.controlOffset, CONTROL_BLOCK_WORDS);
    this.#dataHeadOut = words.dataHeadOut;
    this.#controlHeadOut = words.controlHeadOut;
    this.#dataTailOut = words.dataTailOut;
    this.#controlTailOut = words.controlTailOut;
    this.#dataHeadIn = words.dataHeadIn;
    this.#dataTailIn = words.dataTailIn;
    this.#peerWaitingData = words.peerWaitingData;
    this.#peerWaitingSpace = words.peerWaitingSpace;
    const dataOut = isServer ? areas.response : areas.request;
    const controlOut = isServer ? areas.responseControl : areas.requestControl;
    const controlIn = isServer ? areas.requestControl : areas.responseControl;
    this.#dataIn = isServer ? areas.request : areas.response;
    this.#dataCapacity = isServer ? memory.responseRingBytes : memory.requestRingBytes;
    this.#dataMask = this.#dataCapacity - 1;
    this.#controlCapacity = memory.controlRingBytes;
    this.capacityBytes = capacityOf(this.#dataCapacity);
    this.#dataOut = dataOut;
    this.#dataBytes = new Uint8Array(buffer, dataOut, 2 * this.#dataCapacity);
    this.#dataWords = new Int32Array(buffer, dataOut, this.#dataCapacity / 2);
    this.#controlBytes = new Uint8Array(buffer, controlOut, 2 * this.#controlCapacity);
    this.#controlWords = new Int32Array(buffer, controlOut, this.#controlCapacity / 2);
    this.#controlInBytes = new Uint8Array(buffer, controlIn, 2 * this.#controlCapacity);
    this.#controlInWords = new Int32Array(buffer, controlIn, this.#controlCapacity / 2);
  }

  protected override writeData(word0: number, word1: number, payload: Uint8Array): boolean {
    const length = payload.length;
    const head = this.#dataHead;
    const next = (head + recordBytes(length)) | 0;
    if ((next - this.#dataTail) >>> 0 > this.#dataCapacity && !this.#findRoom(next)) return false;
    const at = head & this.#dataMask;
    const words = this.#dataWords;
    words[at >> 2] = word0;
    words[(at >> 2) + 1] = word1;
    if (length > COPY_PIECE_BYTES) this.#copyInPieces(payload, at + 8);
    else if (length > 0) copyInto.call(this.#dataBytes, payload, at + 8);
    this.#dataHead = next;
    return true;
  }

  #copyInPieces(payload: Uint8Array, at: number): void {
    for (let from = 0; from < payload.length; from += COPY_PIECE_BYTES) {
      copyInto.call(this.#dataBytes, payload.subarray(from, from + COPY_PIECE_BYTES), at + from);
    }
  }

  /** Looks whether the peer gave back enough for a record that ends at `next`. */
  #findRoom(next: number): boolean {
    if (this.claimed) return false;
    // Partner: storeTail in the peer. What it gave back it reads no more.
    const tail = Atomics.load(this.#words, this.#dataTailOut);
    if (isBrokenTail(tail, this.#dataTail, this.#dataHead)) {
      this.violatedLater(BROKEN_TAIL);
      return false;
    }
    this.#dataTail = tail;
    return (next - tail) >>> 0 <= this.#dataCapacity;
  }

  claim(kind: number, id: number, payloadBytes: number, flags = 0): Claim | undefined {
    if (!this.mayClaim(kind, payloadBytes)) return undefined;
    const head = this.#dataHead;
    const end = (head + recordBytes(payloadBytes)) | 0;
    if ((end - this.#dataTail) >>> 0 > this.#dataCapacity && !this.#findRoom(end)) {
      return this.refuseClaim(payloadBytes);
    }
    const span = new Uint8Array(this.#buffer, this.#dataOut + (head & this.#dataMask) + 8, payloadBytes);
    const words = [packLength(payloadBytes, flags), packKindAndId(kind, id)] as const;
    this.#claim = new RingClaim(this, span, ...words, end, this.#dataTail);
    this.claimed = true;
    // To whoever writes meanwhile the ring lacks room for any record, the smallest one included, so that the common path needs no question of its own.
    this.#dataTail = (head - this.#dataCapacity + RECORD_HEADER_BYTES - 1) | 0;
    return this.#claim;
  }

  /** Called by the claim, once. */
  endClaim(claim: RingClaim, publish: boolean): void {
    this.#claim = undefined;
    this.#dataTail = claim.tail;
    const published = publish && this.isOpen;
    if (published) {
      const at = this.#dataHead & this.#dataMask;
      this.#dataWords[at >> 2] = claim.word0;
      this.#dataWords[(at >> 2) + 1] = claim.word1;
      this.#dataHead = claim.end;
    }
    this.claimEnded(published, claim.word1 >>> 28, claim.word0 >>> 30);
  }

  protected override publishData(): void {
    if (publish(this.#words, this.#dataHeadOut, this.#dataHead, this.#peerWaitingData)) this.pump.hub.ring(this.slot);
  }

  protected override writeControl(word0: number, word1: number, payload: Uint8Array): boolean {
    const length = payload.length + CONTROL_PREFIX_BYTES;
    const head = this.#controlHead;
    const next = (head + recordBytes(length)) | 0;
    if (((next - this.#controlTail) | 0) > this.#controlCapacity) {
      // Partner: consumer::release of the peer's control ring, at the end of its passes.
      const tail = Atomics.load(this.#words, this.#controlTailOut);
      if (isBrokenTail(tail, this.#controlTail, head)) {
        this.violatedLater(BROKEN_TAIL);
        return false;
      }
      this.#controlTail = tail;
      if (((next - this.#controlTail) | 0) > this.#controlCapacity) return false;
    }
    const at = head & (this.#controlCapacity - 1);
    const record = this.#controlWords;
    if (record.length === 0) {
      this.violatedLater(MOVED);
      return false;
    }
    record[at >> 2] = word0;
    record[(at >> 2) + 1] = word1;
    record[(at >> 2) + 2] = this.#dataHead;
    record[(at >> 2) + 3] = 0;
    this.#controlBytes.set(payload, at + 8 + CONTROL_PREFIX_BYTES);
    this.#controlHead = next;
    if (publish(this.#words, this.#controlHeadOut, next, this.#peerWaitingData)) this.pump.hub.ring(this.slot);
    return true;
  }

  protected override roomTarget(lane: number, payloadBytes: number): number {
    const [head, capacity] =
      lane === DATA_LANE ? [this.#dataHead, this.#dataCapacity] : [this.#controlHead, this.#controlCapacity];
    return (head + recordBytes(payloadBytes) - capacity) >>> 0;
  }

  protected override controlPosition(offset: number): number {
    return this.#controlInWords[offset >> 2] ?? 0;
  }

  protected override controlPayload(offset: number, length: number): Uint8Array<ArrayBuffer> {
    return new Uint8Array(this.#controlInBytes.subarray(offset, offset + length));
  }

  protected override isPublished(position: number): boolean {
    // Partner: publishData in the peer, before the control frame that follows that position.
    return ((Atomics.load(this.#words, this.#dataHeadIn) - position) | 0) >= 0;
  }

  protected override storeTail(position: number): void {
    if (publish(this.#words, this.#dataTailIn, position, this.#peerWaitingSpace)) this.pump.hub.ring(this.slot);
  }

  override view(offset: number, length: number): Uint8Array<ArrayBuffer> {
    return new Uint8Array(this.#buffer, this.#dataIn + offset, length);
  }

  protected override copyOf(offset: number, length: number): Uint8Array<ArrayBuffer> {
    return new Uint8Array(this.view(offset, length));
  }

  /** Views keep their ArrayBuffer, so none may outlive the connection here; those given out have length 0 from now on. */
  protected override forget(): void {
    this.#claim?.forget();
    this.#claim = undefined;
    this.#buffer = NO_BUFFER;
    this.#words = NO_WORDS;
    this.#dataBytes = NO_BYTES;
    this.#dataWords = NO_WORDS;
    this.#controlBytes = NO_BYTES;
    this.#controlWords = NO_WORDS;
    this.#controlInBytes = NO_BYTES;
    this.#controlInWords = NO_WORDS;
  }
}

/** `transfer()` took the buffer away. It is the application's doing, and as the end of this connection the only one that costs no check per message. */
const MOVED = 'Expected the memory of the connection to stay where it is, got it moved by ArrayBuffer.transfer()';

/** Whether a tail is not between the one seen before and the head, or not between two records. */
function isBrokenTail(tail: number, before: number, head: number): boolean {
  return (tail - before) >>> 0 > (head - before) >>> 0 || (tail & (RECORD_ALIGNMENT - 1)) !== 0;
}

const NO_BUFFER = new ArrayBuffer(0);
const NO_BYTES: Uint8Array<ArrayBuffer> = new Uint8Array(NO_BUFFER);
const NO_WORDS = new Int32Array(NO_BUFFER);
