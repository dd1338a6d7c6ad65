/** Counts calls that run, for whoever waits until none does. */
export class RunningCalls {
  #running = 0;
  #waiting: Array<() => void> = [];

  /** A call began. The returned function is to be called, once or more, when it has finished. */
  began(): () => void {
    this.#running++;
    let finished = false;
    return () => {
      if (finished) return;
      finished = true;
      if (--this.#running > 0) return;
      for (const resolve of this.#waiting.splice(0)) resolve();
    };
  }

  /** Resolves when none runs. */
  drained(): Promise<void> {
    if (this.#running === 0) return Promise.resolve();
    return new Promise((resolve) => this.#waiting.push(resolve));
  }
}
