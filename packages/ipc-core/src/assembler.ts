/**
 * Puts the fragments of one direction of a connection together. The first fragment reserves the whole; until the
 * reservation is granted, fragments stay unreleased, so that the sender's window stops it. Each byte is copied once, to its place.
 */
import type { Frame } from './channel.ts';
import { ProtocolError } from './errors.ts';
import { decodeExtension, type Extension } from './extension.ts';
import { FLAG_EXTENSION, FLAG_MORE, KIND_DUPLEX_REQUEST, TOTAL_BYTES } from './frame.ts';
import { Message } from './message.ts';
import type { ReassemblyBudget, Reservation } from './reassembly-budget.ts';

/** One fragmented message, from its first fragment on. */
export class Assembly {
  readonly kind: number;
  readonly id: number;
  readonly totalBytes: number;
  readonly #extension: Extension | undefined;
  readonly #onReady: (assembly: Assembly) => void;
  #reservation: Reservation;
  #bytes: Uint8Array<ArrayBuffer> | undefined;
  #filled = 0;
  #received = 0;
  /** Fragments that wait for the grant. */
  #held: Frame[] = [];
  #complete = false;
  #dead = false;

  constructor(
    first: Frame,
    totalBytes: number,
    extension: Extension | undefined,
    budget: ReassemblyBudget,
    onReady: (assembly: Assembly) => void,
  ) {
    this.kind = first.kind;
    this.id = first.id;
    this.totalBytes = totalBytes;
    this.#extension = extension;
    this.#onReady = onReady;
    this.#reservation = budget.reserve(totalBytes, () => this.#onGranted());
  }

  /** All bytes are in their place. */
  get ready(): boolean {
    return this.#complete && this.#held.length === 0 && this.#reservation.granted;
  }

  /** All fragments came, if not all into their place. */
  get complete(): boolean {
    return this.#complete;
  }

  /** Not wanted any more. */
  get discarded(): boolean {
    return this.#dead;
  }

  /** The memory is granted. */
  get granted(): boolean {
    return this.#reservation.granted;
  }

  /** Adds one fragment's payload. Throws ProtocolError when there is more or less than was announced. */
  add(fragment: Frame, offset: number, last: boolean): void {
    const size = fragment.payload.byteLength - offset;
    this.#received += size;
    if (this.#received > this.totalBytes || (last && this.#received < this.totalBytes)) {
      fragment.release();
      throw new ProtocolError(
        `Expected fragments of ${this.totalBytes} bytes together, got ${last ? '' : 'at least '}${this.#received}`,
      );
    }
    this.#complete = last;
    if (this.#reservation.granted) this.#place(fragment, offset);
    else if (size === 0) fragment.release();
    else if (offset === 0) this.#held.push(fragment);
    else {
      const payload = fragment.payload.subarray(offset);
      this.#held.push(new Message(this.kind, this.id, payload, false, undefined, () => fragment.release()));
    }
    if (this.ready) this.#onReady(this);
  }

  /** The whole message. Its release gives the memory back. Once, when ready. */
  take(): Message {
    const bytes = this.#bytes ?? new Uint8Array(0);
    return new Message(this.kind, this.id, bytes, true, this.#extension, () => this.#reservation.giveBack());
  }

  /** Frees everything. */
  discard(): void {
    if (this.#dead) return;
    this.#dead = true;
    for (const frame of this.#held) frame.release();
    this.#held = [];
    this.#bytes = undefined;
    this.#reservation.giveBack();
  }

  #onGranted(): void {
    if (this.#dead) return;
    const held = this.#held;
    this.#held = [];
    for (const frame of held) this.#place(frame, 0);
    if (this.ready) this.#onReady(this);
  }

  #place(fragment: Frame, offset: number): void {
    // Not zeroed: only whole messages leave, so no byte of it is ever seen before it was received.
    const bytes = (this.#bytes ??= new Uint8Array(Buffer.allocUnsafeSlow(this.totalBytes).buffer));
    const payload = fragment.payload;
    bytes.set(offset === 0 ? payload : payload.subarray(offset), this.#filled);
    this.#filled += payload.byteLength - offset;
    fragment.release();
  }
}

/** What the assembler asks of, and tells, the connection. */
export interface AssemblyHost {
  readonly maxMessageBytes: number;
  /** A first fragment came: false to discard the message (the host answers for it, if anybody has to). */
  accept(kind: number, id: number, totalBytes: number): boolean;
  /** The memory was not granted at once: later messages must not overtake this one. */
  onWaiting(assembly: Assembly): void;
  onReady(assembly: Assembly): void;
  /** The last fragment came of a message that was discarded. */
  onDiscarded(kind: number, id: number): void;
}

export class Assembler {
  readonly #host: AssemblyHost;
  readonly #budget: ReassemblyBudget;
  /** What the next fragment must belong to; undefined between messages. */
  #open: { readonly kind: number; readonly id: number; assembly: Assembly | undefined } | undefined;

  constructor(host: AssemblyHost, budget: ReassemblyBudget) {
    this.#host = host;
    this.#budget = budget;
  }

  /** In the middle of a message. */
  get active(): boolean {
    return this.#open !== undefined;
  }

  /** Takes a frame that is a fragment, or any data frame while {@link active}. Throws ProtocolError. */
  add(frame: Frame): void {
    const last = (frame.flags & FLAG_MORE) === 0;
    const open = this.#open;
    if (open === undefined) {
      this.#begin(frame);
      return;
    }
    if (frame.kind !== open.kind || frame.id !== open.id || (frame.flags & FLAG_EXTENSION) !== 0) {
      frame.release();
      throw new ProtocolError(
        `Expected the next fragment of kind ${open.kind}, id ${open.id}, got a frame of kind ${frame.kind}, id ${frame.id}`,
      );
    }
    if (last) this.#open = undefined;
    if (open.assembly === undefined) {
      frame.release();
      if (last) this.#host.onDiscarded(open.kind, open.id);
    } else open.assembly.add(frame, 0, last);
  }

  /** A cancel or an error of `id` came: its part, if there is one, is discarded. True when no more fragments of it will come. */
  interrupt(id: number): void {
    if (this.#open?.id !== id) return;
    this.#open.assembly?.discard();
    this.#open = undefined;
  }

  /** The message of `id` is not wanted any more, but its fragments may still come. */
  discard(id: number): void {
    if (this.#open?.id !== id) return;
    this.#open.assembly?.discard();
    this.#open.assembly = undefined;
  }

  /** A message is being put together that the peer alone holds up. */
  get collecting(): boolean {
    return this.#open?.assembly?.granted === true;
  }

  /** Whether the message in progress is a request of this id, and is wanted. */
  isCollectingRequest(id: number): boolean {
    const open = this.#open;
    return open?.id === id && open.kind <= KIND_DUPLEX_REQUEST && open.assembly !== undefined;
  }

  /** Whether the message in progress has this id. */
  isAssembling(id: number): boolean {
    return this.#open?.id === id;
  }

  close(): void {
    this.#open?.assembly?.discard();
    this.#open = undefined;
  }

  #begin(frame: Frame): void {
    const { kind, id } = frame;
    const payload = frame.payload;
    if (payload.byteLength < TOTAL_BYTES) {
      frame.release();
      throw new ProtocolError(`Expected the total in the first fragment, got ${payload.byteLength} bytes`);
    }
    const totalBytes = new DataView(payload.buffer, payload.byteOffset).getUint32(0, true);
    let offset = TOTAL_BYTES;
    let extension: Extension | undefined;
    if ((frame.flags & FLAG_EXTENSION) !== 0) {
      const decoded = decodeExtension(payload.subarray(TOTAL_BYTES));
      extension = decoded;
      offset += decoded.byteLength;
    }
    const open: { kind: number; id: number; assembly: Assembly | undefined } = { kind, id, assembly: undefined };
    this.#open = open;
    if (!this.#host.accept(kind, id, totalBytes)) {
      frame.release();
      return;
    }
    const assembly = new Assembly(frame, totalBytes, extension, this.#budget, (ready) => this.#host.onReady(ready));
    open.assembly = assembly;
    if (!assembly.granted) this.#host.onWaiting(assembly);
    assembly.add(frame, offset, false);
  }
}
