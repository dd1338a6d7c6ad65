/** Callers that wait for something that can be taken: each takes for itself, in order of arrival. */
export class Waiters {
  readonly #waiting = new Set<() => void>();

  /** Somebody waits. */
  get any(): boolean {
    return this.#waiting.size > 0;
  }

  /** Somebody may take now. */
  wake(): void {
    for (const look of this.#waiting) look();
  }

  /**
   * What `take` gives, now or later. Undefined after `timeoutMs` (undefined: for ever; 0: no wait), or as soon as `over`.
   */
  wait<T>(take: () => T | undefined, timeoutMs: number | undefined, over: () => boolean): Promise<T | undefined> {
    // Who comes later waits behind those who wait already.
    const first = this.#waiting.size === 0 ? take() : undefined;
    if (first !== undefined || timeoutMs === 0 || over()) return Promise.resolve(first);
    return new Promise((resolve) => {
      let timer: NodeJS.Timeout | undefined;
      const leave = (value: T | undefined): void => {
        clearTimeout(timer);
        this.#waiting.delete(look);
        resolve(value);
      };
      const look = (): void => {
        const taken = take();
        if (taken !== undefined || over()) leave(taken);
      };
      if (timeoutMs !== undefined) timer = setTimeout(() => leave(undefined), timeoutMs);
      this.#waiting.add(look);
    });
  }
}
