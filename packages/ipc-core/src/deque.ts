const LEAST_CAPACITY = 16;
/** An empty queue that once held more than this gives its memory back. */
const KEPT_CAPACITY = 4096;

/**
 * A first-in, first-out queue in a ring: neither end moves what is between. Capacities are powers of two, and 0 at first: many queues are made
 * that nothing ever waits in.
 */
export class Deque<T> {
  #items: Array<T | undefined> = [];
  #mask = -1;
  #head = 0;
  #length = 0;

  get length(): number {
    return this.#length;
  }

  push(item: T): void {
    if (this.#length > this.#mask) this.#grow();
    this.#items[(this.#head + this.#length++) & this.#mask] = item;
  }

  /** Puts an item before all others. */
  unshift(item: T): void {
    if (this.#length > this.#mask) this.#grow();
    this.#head = (this.#head - 1) & this.#mask;
    this.#items[this.#head] = item;
    this.#length++;
  }

  peek(): T | undefined {
    return this.#items[this.#head];
  }

  shift(): T | undefined {
    if (this.#length === 0) return undefined;
    const head = this.#head;
    const item = this.#items[head];
    this.#items[head] = undefined;
    this.#head = (head + 1) & this.#mask;
    if (--this.#length === 0 && this.#mask >= KEPT_CAPACITY) this.#startOver();
    return item;
  }

  /** Takes one item out, wherever it is. Linear: for the rare case. */
  remove(item: T): boolean {
    const at = this.#find(item);
    if (at < 0) return false;
    for (let i = at; i + 1 < this.#length; i++) this.#items[this.#index(i)] = this.#items[this.#index(i + 1)];
    this.#items[this.#index(--this.#length)] = undefined;
    return true;
  }

  /** Puts `replacement` in the place of `item`. Linear, as {@link remove}. */
  replace(item: T, replacement: T): void {
    const at = this.#find(item);
    if (at >= 0) this.#items[this.#index(at)] = replacement;
  }

  /** Takes everything out. */
  drain(): T[] {
    const all: T[] = [];
    for (let i = 0; i < this.#length; i++) all.push(this.#items[this.#index(i)] as T);
    this.#startOver();
    return all;
  }

  #index(position: number): number {
    return (this.#head + position) & this.#mask;
  }

  #find(item: T): number {
    for (let i = 0; i < this.#length; i++) if (this.#items[this.#index(i)] === item) return i;
    return -1;
  }

  #grow(): void {
    const grown: Array<T | undefined> = [];
    for (let i = 0; i < this.#length; i++) grown.push(this.#items[this.#index(i)]);
    const capacity = Math.max(LEAST_CAPACITY, this.#length * 2);
    while (grown.length < capacity) grown.push(undefined);
    this.#items = grown;
    this.#mask = grown.length - 1;
    this.#head = 0;
  }

  #startOver(): void {
    this.#items = [];
    this.#mask = -1;
    this.#head = 0;
    this.#length = 0;
  }
}
