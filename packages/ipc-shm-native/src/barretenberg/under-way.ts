/**
 * How many requests a client has under way at the published server, which gives up an answer that finds no room in its ring for 100 ms: as many
 * as surely fit, going by the answers seen so far. Then it does not matter when this process gets its turn.
 */

/** Answers that are remembered at least; twice as many at most. */
const REMEMBERED = 256;
const LENGTH_BYTES = 4;

export class UnderWay {
  readonly #halfOfRing: number;
  /** The largest of the last ones, and of those before them. */
  #largest = 0;
  #largestBefore = 0;
  #seen = 0;
  /** One, until an answer showed how large they are. */
  #limit = 1;

  constructor(ringBytes: number) {
    this.#halfOfRing = ringBytes / 2;
  }

  get limit(): number {
    return this.#limit;
  }

  /** Answers came, the largest of that size. */
  came(count: number, largestBytes: number): void {
    this.#seen += count;
    if (this.#seen > REMEMBERED) {
      this.#seen = 0;
      this.#largestBefore = this.#largest;
      this.#largest = 0;
    } else if (largestBytes <= this.#largest && this.#limit > 1) {
      return;
    }
    this.#largest = Math.max(this.#largest, largestBytes);
    // One that is larger than any before finds the other half. The bytes that are skipped at the end of the ring are fewer than those of an answer.
    const each = LENGTH_BYTES + Math.max(this.#largest, this.#largestBefore);
    this.#limit = Math.max(1, Math.floor(this.#halfOfRing / each) - 1);
  }
}
