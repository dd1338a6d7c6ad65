/** The answers of one plain client: they leave in the order of its requests, whatever order handlers finish in. */
import type { DataLane, LaneEntry } from './data-lane.ts';
import { Deque } from './deque.ts';
import { KIND_RESPONSE } from './frame.ts';
import type { ServerRequest } from './server-request.ts';

/** What becomes of a request's place: bytes to send, nothing, or the end of the connection (what plain framing cannot say). */
export type PlainOutcome =
  | { readonly type: 'data'; readonly payload: Uint8Array; readonly onSent: () => void }
  | { readonly type: 'skip' }
  | { readonly type: 'close'; readonly error: Error };

interface Slot {
  readonly request: ServerRequest;
  outcome: PlainOutcome | undefined;
}

export class PlainOrder {
  readonly #lane: DataLane;
  readonly #onClose: (error: Error) => void;
  readonly #slots = new Deque<Slot>();
  readonly #byRequest = new Map<ServerRequest, Slot>();
  #heldBytes = 0;
  #closed = false;

  constructor(lane: DataLane, onClose: (error: Error) => void) {
    this.#lane = lane;
    this.#onClose = onClose;
  }

  /** Bytes of answers that wait for their turn. */
  get heldBytes(): number {
    return this.#heldBytes;
  }

  /** Whether an answer of `request` could leave at once. */
  isNext(request: ServerRequest): boolean {
    return this.#slots.peek()?.request === request;
  }

  /** The request that came first of those without an outcome. */
  oldest(): ServerRequest | undefined {
    for (const slot of this.#byRequest.values()) if (slot.outcome === undefined) return slot.request;
    return undefined;
  }

  add(request: ServerRequest): void {
    const slot: Slot = { request, outcome: undefined };
    this.#slots.push(slot);
    this.#byRequest.set(request, slot);
  }

  /** Gives a request its outcome. A payload must stay unchanged until `onSent`. */
  settle(request: ServerRequest, outcome: PlainOutcome): void {
    const slot = this.#byRequest.get(request);
    if (slot === undefined || slot.outcome !== undefined) return;
    slot.outcome = outcome;
    if (outcome.type === 'data') this.#heldBytes += outcome.payload.length;
    for (let next = this.#slots.peek(); next?.outcome !== undefined && !this.#closed; next = this.#slots.peek()) {
      this.#slots.shift();
      this.#byRequest.delete(next.request);
      this.#leave(next.outcome);
    }
  }

  #leave(outcome: PlainOutcome): void {
    if (outcome.type === 'data') {
      this.#heldBytes -= outcome.payload.length;
      this.#lane.push(new PlainEntry(outcome.payload, outcome.onSent));
    } else if (outcome.type === 'close') {
      this.#closed = true;
      this.#onClose(outcome.error);
    }
  }
}

class PlainEntry implements LaneEntry {
  readonly kind = KIND_RESPONSE;
  readonly id = 0;
  readonly payload: Uint8Array;
  readonly extension = undefined;
  readonly #onSent: () => void;

  constructor(payload: Uint8Array, onSent: () => void) {
    this.payload = payload;
    this.#onSent = onSent;
  }

  begin(): boolean {
    return true;
  }

  sent(): void {
    this.#onSent();
  }
}
