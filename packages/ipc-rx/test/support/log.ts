/** What happened, in order; tests wait for its length instead of sleeping. */
export class Log<T> {
  readonly entries: T[] = [];
  #waiting: Array<{ readonly count: number; readonly resolve: () => void }> = [];

  add(entry: T): void {
    this.entries.push(entry);
    const ready = this.#waiting.filter(({ count }) => count <= this.entries.length);
    this.#waiting = this.#waiting.filter(({ count }) => count > this.entries.length);
    for (const { resolve } of ready) resolve();
  }

  /** Resolves once there are `count` entries. */
  reaches(count: number): Promise<void> {
    if (this.entries.length >= count) return Promise.resolve();
    return new Promise((resolve) => this.#waiting.push({ count, resolve }));
  }
}
