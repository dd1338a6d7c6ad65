/** Whole messages out of the frames of a channel, in order. */
import {
  Assembler,
  Deque,
  FLAG_MORE,
  KIND_ONE_WAY,
  KIND_REQUEST,
  KIND_RESPONSE,
  ProtocolError,
  type Assembly,
  type Frame,
  type ReassemblyBudget,
} from '@spanwire/ipc-core';

/** Takes one message; `bytes` are borrowed until it returns. */
export type TakeMessage = (id: number, bytes: Uint8Array<ArrayBuffer>) => void;

export class MessageInbox {
  readonly #take: TakeMessage;
  readonly #assembler: Assembler;
  /** What must not overtake a message whose fragments wait for memory; that one comes first. */
  readonly #waiting = new Deque<Frame | Assembly>();
  readonly #placed = new Set<Assembly>();

  constructor(maxMessageBytes: number, budget: ReassemblyBudget, take: TakeMessage) {
    this.#take = take;
    this.#assembler = new Assembler(
      {
        maxMessageBytes,
        accept: (_kind, _id, totalBytes) => {
          if (totalBytes <= maxMessageBytes) return true;
          throw new ProtocolError(`Expected a message of at most ${maxMessageBytes} bytes, got one of ${totalBytes}`);
        },
        onWaiting: (assembly) => {
          this.#placed.add(assembly);
          this.#waiting.push(assembly);
        },
        onReady: (assembly) => this.#onReady(assembly),
        onDiscarded: () => undefined,
      },
      budget,
    );
  }

  /** Takes a frame of the data lane, and releases it. Throws ProtocolError. */
  add(frame: Frame): void {
    if (frame.kind !== KIND_ONE_WAY && frame.kind !== KIND_REQUEST && frame.kind !== KIND_RESPONSE) {
      frame.release();
      throw new ProtocolError(`Expected frames of kind request, response or one-way, got kind ${frame.kind}`);
    }
    if (this.#assembler.active || (frame.flags & FLAG_MORE) !== 0) this.#assembler.add(frame);
    else if (this.#waiting.length > 0) this.#waiting.push(frame);
    else this.#deliver(frame);
  }

  close(): void {
    this.#assembler.close();
    for (const waiting of this.#waiting.drain()) {
      if ('discard' in waiting) waiting.discard();
      else waiting.release();
    }
  }

  #onReady(assembly: Assembly): void {
    if (!this.#placed.delete(assembly)) {
      if (this.#waiting.length === 0) {
        this.#deliver(assembly.take());
        return;
      }
      this.#waiting.push(assembly);
    }
    for (let next = this.#waiting.peek(); next !== undefined; next = this.#waiting.peek()) {
      if ('discard' in next && !next.ready) return;
      // Before the delivery: that gives memory back, which may make the next one ready in between.
      this.#waiting.shift();
      this.#deliver('discard' in next ? next.take() : next);
    }
  }

  #deliver(message: Frame): void {
    try {
      this.#take(message.id, message.payload);
    } finally {
      message.release();
    }
  }
}
