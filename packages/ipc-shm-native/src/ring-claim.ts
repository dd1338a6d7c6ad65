/** A record of a data ring that is written in place. */
import { SpanReleasedError, type Bytes, type Claim } from '@spanwire/ipc-core';
import type { MappedChannel } from './mapped-channel.ts';

export class RingClaim implements Claim {
  readonly word0: number;
  readonly word1: number;
  /** Where the record ends, as a position in the life of the ring. */
  readonly end: number;
  /** The peer's tail when it was opened. */
  readonly tail: number;
  #channel: MappedChannel | undefined;
  #span: Bytes | undefined;

  constructor(channel: MappedChannel, span: Bytes, word0: number, word1: number, end: number, tail: number) {
    this.#channel = channel;
    this.#span = span;
    this.word0 = word0;
    this.word1 = word1;
    this.end = end;
    this.tail = tail;
  }

  get span(): Bytes {
    if (this.#span === undefined) throw new SpanReleasedError();
    return this.#span;
  }

  publish(): void {
    this.forget()?.endClaim(this, true);
  }

  abort(): void {
    this.forget()?.endClaim(this, false);
  }

  /** It is over: it does nothing any more, and keeps no view of the memory. */
  forget(): MappedChannel | undefined {
    const channel = this.#channel;
    this.#channel = undefined;
    this.#span = undefined;
    return channel;
  }
}
