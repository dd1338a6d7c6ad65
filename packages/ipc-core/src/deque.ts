/** A first-in, first-out queue whose shift does not move the rest. */
export class Deque<T> {
  #items: Array<T | undefined> = [];
  #head = 0;

  get length(): number {
    return this.#items.length - this.#head;
  }

  push(item: T): void {
    this.#items.push(item);
  }

  /** Puts an item before all others. Rare, so it may move them. */
  unshift(item: T): void {
    if (this.#head > 0) this.#items[--this.#head] = item;
    else this.#items.unshift(item);
  }

  peek(): T | undefined {
    return this.#items[this.#head];
  }

  shift(): T | undefined {
    const head = this.#head;
    if (head === this.#items.length) return undefined;
    const item = this.#items[head];
    this.#items[head] = undefined;
    if (head + 1 === this.#items.length) {
      this.#items.length = 0;
      this.#head = 0;
    } else if (head >= 1023 && head * 2 > this.#items.length) {
      // Give the consumed front back once it is the larger part: constant cost per item over time.
      this.#items = this.#items.slice(head + 1);
      this.#head = 0;
    } else {
      this.#head = head + 1;
    }
    return item;
  }

  /** Takes one item out, wherever it is. Linear: for the rare case. */
  remove(item: T): boolean {
    const index = this.#items.indexOf(item, this.#head);
    if (index < 0) return false;
    this.#items.splice(index, 1);
    return true;
  }

  /** Puts `replacement` in the place of `item`. Linear, as {@link remove}. */
  replace(item: T, replacement: T): void {
    const index = this.#items.indexOf(item, this.#head);
    if (index >= 0) this.#items[index] = replacement;
  }

  /** Takes everything out. */
  drain(): T[] {
    const rest = this.#items.slice(this.#head) as T[];
    this.#items = [];
    this.#head = 0;
    return rest;
  }
}
