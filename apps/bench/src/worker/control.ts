/** What the harness and a client process say to each other, over the channel that `fork` gives them. */

export interface Order {
  readonly type: 'measure';
  readonly ms: number;
  readonly leadInMs: number;
  /** False: to warm up, without the pauses of the workload. */
  readonly paced: boolean;
}

export type Report =
  /** The link is open and its answers are right. */
  | { readonly type: 'ready'; readonly serverPid: number | null; readonly clockNs: number }
  | { readonly type: 'skipped'; readonly reason: string }
  | { readonly type: 'failed'; readonly message: string }
  | { readonly type: 'measured'; readonly measured: Measured };

/** One measurement of one round. Latencies have the clock's own cost taken off. */
export interface Measured {
  readonly latency: Latency | null;
  /** Requests, messages or items per second. */
  readonly perSecond: number | null;
  /** Resident bytes of the server for each client. */
  readonly bytesPerClient: number | null;
}

export interface Latency {
  readonly p50Ns: number;
  readonly p99Ns: number;
  readonly p999Ns: number;
  /** Latencies at {@link CDF_SHARES}. */
  readonly cdfNs: readonly number[];
}

/** Shares of all samples at which a distribution is kept. */
export const CDF_SHARES: readonly number[] = [
  0.001, 0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.925, 0.95, 0.96, 0.97, 0.98, 0.985, 0.99,
  0.9925, 0.995, 0.9975, 0.999, 0.9995, 0.9999,
];
