/**
 * Answers of a server whose fragments wait for memory, and what came behind them: the messages of one call keep their order, those
 * of different calls have none to keep.
 */
import type { Assembly } from './assembler.ts';
import type { Frame } from './channel.ts';
import { KIND_ITEM } from './frame.ts';

type Held =
  | { readonly assembly: Assembly; message: Frame | undefined }
  | { readonly assembly: undefined; message: Frame };

export class HeldAnswers {
  readonly #byId = new Map<number, Held[]>();

  /** Something is held. */
  get any(): boolean {
    return this.#byId.size > 0;
  }

  /** Keeps the place of a message whose fragments wait for memory. */
  wait(assembly: Assembly): void {
    this.#queueOf(assembly.id).push({ assembly, message: undefined });
  }

  /** Puts a whole message behind what is held of its call. False when nothing is: it may be taken at once. */
  putBehind(message: Frame): boolean {
    const queue = this.#byId.get(message.id);
    if (queue === undefined) return false;
    queue.push({ assembly: undefined, message });
    return true;
  }

  /** The message of a kept place is whole. False when its place is not here. */
  complete(assembly: Assembly, message: Frame): boolean {
    const held = this.#byId.get(assembly.id)?.find((each) => each.assembly === assembly);
    if (held === undefined) return false;
    held.message = message;
    return true;
  }

  /** The next of a call, when it is whole. */
  shift(id: number): Frame | undefined {
    const queue = this.#byId.get(id);
    const message = queue?.[0]?.message;
    if (queue === undefined || message === undefined) return undefined;
    queue.shift();
    if (queue.length === 0) this.#byId.delete(id);
    return message;
  }

  /** Drops what was interrupted before its last fragment came. */
  interrupt(id: number): void {
    const queue = this.#byId.get(id);
    if (queue === undefined) return;
    const rest = queue.filter(({ assembly }) => assembly === undefined || !assembly.discarded);
    if (rest.length === 0) this.#byId.delete(id);
    else this.#byId.set(id, rest);
  }

  /** Drops all of a call. True when the end of the call is among it. */
  drop(id: number): boolean {
    let ended = false;
    for (const { assembly, message } of this.#byId.get(id) ?? []) {
      const kind = assembly?.kind ?? message?.kind;
      if (kind !== KIND_ITEM && assembly?.complete !== false) ended = true;
      message?.release();
      assembly?.discard();
    }
    this.#byId.delete(id);
    return ended;
  }

  clear(): void {
    for (const id of this.#byId.keys()) this.drop(id);
  }

  #queueOf(id: number): Held[] {
    const known = this.#byId.get(id);
    if (known !== undefined) return known;
    const queue: Held[] = [];
    this.#byId.set(id, queue);
    return queue;
  }
}
