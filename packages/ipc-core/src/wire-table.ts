/**
 * Open requests by wire id. A well-behaved client uses small ids, which index an array; a hostile one may use any of 2^28, which
 * a map holds.
 */
const SMALL_IDS = 4096;

export class WireTable<T> {
  readonly #small: Array<T | undefined> = [];
  #large: Map<number, T> | undefined;

  get(id: number): T | undefined {
    return id < SMALL_IDS ? this.#small[id] : this.#large?.get(id);
  }

  set(id: number, value: T): void {
    if (id < SMALL_IDS) {
      // Filled without holes, so that the array stays of the fast kind.
      while (this.#small.length <= id) this.#small.push(undefined);
      this.#small[id] = value;
    } else {
      (this.#large ??= new Map()).set(id, value);
    }
  }

  delete(id: number): void {
    if (id < SMALL_IDS) this.#small[id] = undefined;
    else this.#large?.delete(id);
  }

  /** Everything in it. For the rare case: it walks the array. */
  values(): T[] {
    const all = this.#small.filter((value): value is T & {} => value !== undefined) as T[];
    if (this.#large !== undefined) all.push(...this.#large.values());
    return all;
  }
}
