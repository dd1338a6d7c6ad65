import { createHistogram } from 'node:perf_hooks';
import { CDF_SHARES, type Latency } from './control.ts';

/** How many samples wait before the histogram takes them. */
const CAPACITY = 1 << 19;
const AN_HOUR_NS = 3.6e12;

/**
 * Latencies of one measurement. Samples go to an array, 4 ns each, and from there to an HDR histogram when nothing is being measured. The
 * histogram is Node's own (19 ns a sample; hdr-histogram-js took 82 ns).
 */
export class Samples {
  readonly #clockNs: number;
  readonly #histogram = createHistogram({ lowest: 1, highest: AN_HOUR_NS, figures: 3 });
  // Filled, so that no page of it is touched first while something is measured.
  readonly #waiting = new Float64Array(CAPACITY).fill(1);
  #length = 0;
  #sumNs = 0;
  #count = 0;

  /** `clockNs`: what is taken off each sample. */
  constructor(clockNs: number) {
    this.#clockNs = clockNs;
  }

  add(ns: number): void {
    this.#waiting[this.#length++] = ns;
    if (this.#length === CAPACITY) this.#drain();
  }

  /** The distribution, and how many per second one after the other would be; the next measurement starts empty. */
  take(): { latency: Latency | null; perSecond: number | null } {
    this.#drain();
    const count = this.#count;
    const meanNs = this.#sumNs / count;
    const latency = count === 0 ? null : this.#latency();
    this.#histogram.reset();
    this.#sumNs = 0;
    this.#count = 0;
    return { latency, perSecond: latency === null ? null : 1e9 / meanNs };
  }

  #latency(): Latency {
    const at = (share: number): number => this.#histogram.percentile(share * 100);
    return { p50Ns: at(0.5), p99Ns: at(0.99), p999Ns: at(0.999), cdfNs: CDF_SHARES.map(at) };
  }

  #drain(): void {
    for (let i = 0; i < this.#length; i++) {
      const ns = Math.max(1, Math.round((this.#waiting[i] ?? 0) - this.#clockNs));
      this.#histogram.record(ns);
      this.#sumNs += ns;
    }
    this.#count += this.#length;
    this.#length = 0;
  }
}
