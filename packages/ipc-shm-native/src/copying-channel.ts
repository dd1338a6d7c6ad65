/** A channel for runtimes in which no ArrayBuffer may lie on foreign memory: the addon copies in and out. */
import type { Memory } from './addon.ts';
import { CONTROL_PREFIX_BYTES, recordBytes } from './layout.ts';
import {
  BROKEN_TAIL,
  capacityOf,
  CONTROL_LANE_INDEX,
  DATA_LANE,
  ShmChannel,
  type ShmChannelOptions,
} from './shm-channel.ts';

export class CopyingChannel extends ShmChannel {
  readonly capacityBytes: number;
  readonly #capacities: readonly [data: number, control: number];
  #dataHead = 0;
  #controlHead = 0;
  #gone = false;

  constructor(options: ShmChannelOptions, memory: Memory) {
    super(options);
    const out = this.isServer ? memory.responseRingBytes : memory.requestRingBytes;
    this.#capacities = [out, memory.controlRingBytes];
    this.capacityBytes = capacityOf(out);
  }

  protected override writeData(word0: number, word1: number, payload: Uint8Array): boolean {
    if (payload.length > this.capacityBytes) return false;
    if (!this.#write(DATA_LANE, word0, word1, payload)) return false;
    this.#dataHead = (this.#dataHead + recordBytes(payload.length)) | 0;
    return true;
  }

  /** The addon publishes as it writes. */
  protected override publishData(): void {}

  protected override writeControl(word0: number, word1: number, payload: Uint8Array): boolean {
    if (!this.#write(CONTROL_LANE_INDEX, word0, word1, payload)) return false;
    this.#controlHead = (this.#controlHead + recordBytes(payload.length + CONTROL_PREFIX_BYTES)) | 0;
    return true;
  }

  #write(lane: number, word0: number, word1: number, payload: Uint8Array): boolean {
    if (this.#gone) return false;
    const written = this.pump.hub.write(this.slot, lane, word0, word1, payload, this.#dataHead >>> 0);
    if (written >= 0) return written === 1;
    this.violatedLater(BROKEN_TAIL);
    return false;
  }

  protected override roomTarget(lane: number, payloadBytes: number): number {
    const head = lane === DATA_LANE ? this.#dataHead : this.#controlHead;
    return (head + recordBytes(payloadBytes) - this.#capacities[lane === DATA_LANE ? 0 : 1]) >>> 0;
  }

  protected override controlPosition(offset: number): number {
    const bytes = this.#read(CONTROL_LANE_INDEX, offset, 4);
    return new DataView(bytes.buffer).getInt32(0, true);
  }

  protected override controlPayload(offset: number, length: number): Uint8Array<ArrayBuffer> {
    return this.#read(CONTROL_LANE_INDEX, offset, length);
  }

  protected override isPublished(position: number): boolean {
    return this.pump.hub.published(this.slot, position >>> 0);
  }

  protected override storeTail(position: number): void {
    this.pump.hub.release(this.slot, position >>> 0);
  }

  override view(offset: number, length: number): Uint8Array<ArrayBuffer> {
    return this.#read(DATA_LANE, offset, length);
  }

  protected override copyOf(offset: number, length: number): Uint8Array<ArrayBuffer> {
    return this.view(offset, length);
  }

  protected override forget(): void {
    this.#gone = true;
  }

  #read(lane: number, offset: number, length: number): Uint8Array<ArrayBuffer> {
    const bytes = new Uint8Array(length);
    if (length > 0 && !this.#gone) this.pump.hub.read(this.slot, lane, offset, bytes);
    return bytes;
  }
}
