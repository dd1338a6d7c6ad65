/** What one client sent and was not delivered yet, in order. Its bytes count against the client's window, which bounds it. */
import type { Assembly } from './assembler.ts';
import type { Frame } from './channel.ts';
import { Deque } from './deque.ts';
import { KIND_DUPLEX_REQUEST, KIND_ONE_WAY } from './frame.ts';

/** A place in the inbox. `message` is undefined while its fragments wait for memory. */
export interface Queued {
  readonly kind: number;
  readonly id: number;
  message: Frame | undefined;
  assembly: Assembly | undefined;
  dead: boolean;
}

export class Inbox {
  readonly #queue = new Deque<Queued>();
  /** Requests out of the way of one-way messages, while nobody reads requests. */
  readonly #parked = new Deque<Queued>();
  readonly #requestsById = new Map<number, Queued>();
  readonly #inputsById = new Map<number, number>();
  readonly #assemblies = new Map<Assembly, Queued>();
  #requests = 0;

  get empty(): boolean {
    return this.#queue.length === 0;
  }

  /** How many requests wait. */
  get requests(): number {
    return this.#requests;
  }

  push(message: Frame): void {
    this.#add({ kind: message.kind, id: message.id, message, assembly: undefined, dead: false });
  }

  /** Keeps the place of a message whose fragments wait for memory. */
  pushAssembly(assembly: Assembly): void {
    const queued: Queued = { kind: assembly.kind, id: assembly.id, message: undefined, assembly, dead: false };
    this.#assemblies.set(assembly, queued);
    this.#add(queued);
  }

  isQueued(assembly: Assembly): boolean {
    return this.#assemblies.has(assembly);
  }

  /** The message of a kept place is whole. */
  replace(assembly: Assembly, message: Frame): void {
    const queued = this.#assemblies.get(assembly);
    if (queued === undefined) return;
    this.#assemblies.delete(assembly);
    queued.assembly = undefined;
    queued.message = message;
  }

  /** Whether a request of this id waits. */
  hasRequest(id: number): boolean {
    return this.#requestsById.has(id);
  }

  /** Whether anything of this id waits, that its input must not overtake. */
  has(id: number): boolean {
    return this.#requestsById.has(id) || this.#inputsById.has(id);
  }

  /** Takes the waiting request of `id` out. False when there is none. */
  cancel(id: number): boolean {
    const queued = this.#requestsById.get(id);
    if (queued === undefined) return false;
    this.#requestsById.delete(id);
    this.#requests--;
    this.#bury(queued);
    return true;
  }

  /** The first that waits. */
  peek(): Queued | undefined {
    for (let queued = this.#queue.peek(); queued !== undefined; queued = this.#queue.peek()) {
      if (!queued.dead) return queued;
      this.#queue.shift();
    }
    return undefined;
  }

  /** Takes the first out. To be called after {@link peek}. */
  shift(): void {
    const queued = this.#queue.shift();
    if (queued !== undefined) this.#forget(queued);
  }

  /** Moves the first, a request or what belongs to one, aside. */
  park(): void {
    const queued = this.#queue.shift();
    if (queued !== undefined) this.#parked.push(queued);
  }

  /** Puts what was moved aside back to the front. */
  unpark(): void {
    if (this.#parked.length === 0) return;
    for (const queued of this.#parked.drain().reverse()) if (!queued.dead) this.#queue.unshift(queued);
  }

  /** Takes every request out; the caller releases them. Those not whole yet are discarded, and stand in the list by their id. */
  takeRequests(): Array<{ readonly id: number; release(): void }> {
    this.unpark();
    const taken: Array<{ readonly id: number; release(): void }> = [];
    const rest = this.#queue.drain();
    for (const queued of rest) {
      if (queued.dead) continue;
      if (queued.kind > KIND_DUPLEX_REQUEST) {
        this.#queue.push(queued);
        continue;
      }
      this.#forget(queued);
      const { message } = queued;
      if (message === undefined) this.#bury(queued);
      taken.push(message ?? { id: queued.id, release: () => undefined });
    }
    return taken;
  }

  /** Takes out all but whole one-way messages: nobody is left to complete or to answer the rest. */
  keepOneWay(): void {
    for (const queued of this.#queue.drain()) {
      if (queued.dead) continue;
      if (queued.kind === KIND_ONE_WAY && queued.message !== undefined) {
        this.#queue.push(queued);
        continue;
      }
      this.#forget(queued);
      this.#bury(queued);
    }
  }

  #add(queued: Queued): void {
    this.#queue.push(queued);
    if (queued.kind <= KIND_DUPLEX_REQUEST) {
      this.#requests++;
      this.#requestsById.set(queued.id, queued);
    } else if (queued.kind !== KIND_ONE_WAY) {
      this.#inputsById.set(queued.id, (this.#inputsById.get(queued.id) ?? 0) + 1);
    }
  }

  /** Takes a place out of the books, but not out of the queue. */
  #forget(queued: Queued): void {
    if (queued.kind <= KIND_DUPLEX_REQUEST) {
      this.#requests--;
      if (this.#requestsById.get(queued.id) === queued) this.#requestsById.delete(queued.id);
    } else if (queued.kind !== KIND_ONE_WAY) {
      const left = (this.#inputsById.get(queued.id) ?? 1) - 1;
      if (left === 0) this.#inputsById.delete(queued.id);
      else this.#inputsById.set(queued.id, left);
    }
  }

  #bury(queued: Queued): void {
    queued.dead = true;
    queued.message?.release();
    queued.message = undefined;
    if (queued.assembly !== undefined) {
      this.#assemblies.delete(queued.assembly);
      queued.assembly.discard();
      queued.assembly = undefined;
    }
  }
}
