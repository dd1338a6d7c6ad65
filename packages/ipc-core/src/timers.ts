/** Where work waits for its time: on the event loop, or with a thread that blocks and looks for itself. */

export interface Timer {
  cancel(): void;
}

export interface Timers {
  /** Runs `run` once, after `delayMs`. With `keepsAlive: false` the process may end before. */
  after(delayMs: number, run: () => void, options?: { keepsAlive: boolean }): Timer;
  /** Runs `run` after what is under way now, and after other work has had its turn. */
  soon(run: () => void): void;
}

export const loopTimers: Timers = {
  after(delayMs, run, { keepsAlive } = { keepsAlive: true }) {
    const timer = setTimeout(run, delayMs);
    if (!keepsAlive) timer.unref();
    return { cancel: () => clearTimeout(timer) };
  },
  soon(run) {
    setImmediate(run);
  },
};
