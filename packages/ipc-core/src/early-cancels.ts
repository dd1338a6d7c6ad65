/**
 * Cancels that overtook data, until the places where they stood are reached. One may have acted when it came; one whose request was still
 * behind it waits for that request. Ids are used again, so there may be several of one id, each for a call of its own.
 */
export class EarlyCancels {
  /** By id, in order: whether it waits for its request. */
  readonly #byId = new Map<number, boolean[]>();
  #size = 0;

  /** How many there are. */
  get size(): number {
    return this.#size;
  }

  /** A cancel came before its place. `waits`: its request has not come. */
  add(id: number, waits: boolean): void {
    const known = this.#byId.get(id);
    if (known === undefined) this.#byId.set(id, [waits]);
    else known.push(waits);
    this.#size++;
  }

  /** A request comes. True when a cancel waits for it, which then waits no more. */
  take(id: number): boolean {
    const cancels = this.#byId.get(id);
    const first = cancels?.indexOf(true) ?? -1;
    if (cancels === undefined || first < 0) return false;
    cancels[first] = false;
    return true;
  }

  /** The place of the first of an id is reached. */
  pass(id: number): void {
    const cancels = this.#byId.get(id);
    if (cancels === undefined) return;
    cancels.shift();
    this.#size--;
    if (cancels.length === 0) this.#byId.delete(id);
  }
}
