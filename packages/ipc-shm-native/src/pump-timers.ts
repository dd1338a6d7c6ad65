/** The timeouts of one pump: on the event loop, or, once its thread blocks, run by whoever waits there. */
import { loopTimers, type Timer, type Timers } from '@spanwire/ipc-core';

interface Entry {
  readonly dueMs: number;
  readonly run: () => void;
}

export class PumpTimers implements Timers {
  /** In the order in which they are due; undefined while the event loop runs. */
  #waiting: Entry[] | undefined;
  /** Something may be due sooner than was said. */
  changed = false;
  /** For after what is under way. */
  #soon: Array<() => void> = [];

  /** From now on nothing runs by itself: the thread calls {@link runDue}. */
  block(): void {
    this.#waiting ??= [];
  }

  after(delayMs: number, run: () => void, options?: { keepsAlive: boolean }): Timer {
    const waiting = this.#waiting;
    if (waiting === undefined) return loopTimers.after(delayMs, run, options);
    const entry: Entry = { dueMs: performance.now() + delayMs, run };
    const later = waiting.findIndex(({ dueMs }) => dueMs > entry.dueMs);
    waiting.splice(later < 0 ? waiting.length : later, 0, entry);
    this.changed = true;
    return {
      cancel: () => {
        const at = waiting.indexOf(entry);
        if (at >= 0) waiting.splice(at, 1);
      },
    };
  }

  soon(run: () => void): void {
    if (this.#waiting === undefined) loopTimers.soon(run);
    else this.#soon.push(run);
  }

  /** As {@link soon}, but on the event loop in a microtask. */
  later(run: () => void): void {
    if (this.#waiting === undefined) queueMicrotask(run);
    else this.#soon.push(run);
  }

  /** Something is there for {@link runSoon}. */
  get hasWork(): boolean {
    return this.#soon.length > 0;
  }

  /** Runs what was left for after what was under way; what that leaves in turn is left. */
  runSoon(): void {
    const work = this.#soon;
    this.#soon = [];
    for (const run of work) run();
  }

  /** Runs what is due. */
  runDue(): void {
    this.changed = false;
    const waiting = this.#waiting;
    if (waiting === undefined || waiting.length === 0) return;
    const nowMs = performance.now();
    for (let next = waiting[0]; next !== undefined && next.dueMs <= nowMs; next = waiting[0]) {
      waiting.shift();
      next.run();
    }
  }

  /** How long until something is due, `mostMs` at most. */
  untilDue(mostMs: number): number {
    const next = this.#waiting?.[0];
    return next === undefined ? mostMs : Math.min(mostMs, Math.max(0, next.dueMs - performance.now()));
  }
}
