import type { Measured } from './control.ts';

/** What a client process measures: a link that is open, with one workload on it. It ends with the process. */
export interface Subject {
  /** The process that the server is in; null when it is this one. */
  readonly serverPid: number | null;
  /** Rejects when an answer is not what was asked for. */
  check(): Promise<void>;
  /** Not `paced`: what the workload does at intervals goes on without them. */
  measure(ms: number, paced: boolean): Promise<Measured>;
}

/** Why there is no subject here. */
export interface Missing {
  readonly missing: string;
}
