/** Memory for fragmented messages, all peers together: reservations are granted in order of arrival. */

/** One reservation. `give back` exactly once, granted or not. */
export interface Reservation {
  readonly granted: boolean;
  /** Frees the bytes, or leaves the queue when they were not granted yet. Idempotent. */
  giveBack(): void;
}

interface Entry {
  readonly bytes: number;
  onGranted: (() => void) | undefined;
  state: 'waiting' | 'granted' | 'done';
}

export class ReassemblyBudget {
  readonly capacityBytes: number;
  #used = 0;
  #waiting: Set<Entry> = new Set();

  constructor(capacityBytes: number) {
    this.capacityBytes = capacityBytes;
  }

  get usedBytes(): number {
    return this.#used;
  }

  /** Reserves `bytes` (at most the capacity). When they are not granted at once, `onGranted` is called when they are. */
  reserve(bytes: number, onGranted: () => void): Reservation {
    const entry: Entry = { bytes, onGranted, state: 'waiting' };
    if (this.#waiting.size === 0 && this.#fits(bytes)) {
      entry.state = 'granted';
      this.#used += bytes;
    } else {
      this.#waiting.add(entry);
    }
    return {
      get granted() {
        return entry.state === 'granted';
      },
      giveBack: () => this.#giveBack(entry),
    };
  }

  #fits(bytes: number): boolean {
    return this.#used + bytes <= this.capacityBytes;
  }

  #giveBack(entry: Entry): void {
    const before = entry.state;
    entry.state = 'done';
    entry.onGranted = undefined;
    if (before === 'waiting') this.#waiting.delete(entry);
    else if (before === 'granted') this.#used -= entry.bytes;
    else return;
    for (const next of this.#waiting) {
      if (!this.#fits(next.bytes)) break;
      this.#waiting.delete(next);
      next.state = 'granted';
      this.#used += next.bytes;
      next.onGranted?.();
    }
  }
}
