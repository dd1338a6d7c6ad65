import type { FloorName } from './floor.ts';
import type { LinkName } from './links.ts';
import type { Workload } from './workload.ts';

/** What counts in a scenario, and what ratios are made of. */
export type Figure =
  /** The median round trip; less is better. */
  | 'latency'
  /** The round trip that one in a hundred exceeds; less is better. */
  | 'tail'
  /** Messages per second; more is better. */
  | 'rate'
  /** CPU time of both processes while nothing happens, as a share of one CPU; less is better. */
  | 'cpu'
  /** Resident bytes of the server per client; less is better. */
  | 'memory';

/** The ratios that a target can be about. */
export type Metric = 'ratioToFloor' | 'ratioToBestPeer' | 'ratioToReference' | 'cpuShare';

export type Target = { readonly [M in Metric]?: { readonly atMost: number } | { readonly atLeast: number } };

/** A link under a workload: a row of the result. */
export interface Case {
  readonly link: LinkName;
  /** Tells rows of one link in a scenario apart; empty when there is one. */
  readonly variant: string;
  readonly workload: Workload;
  readonly figure: Figure;
  /** What the floor of this case is: a round trip of small messages, a cold wake-up, a copy. */
  readonly floor: FloorName | null;
  /** A row of the same scenario that this one is compared with, by `link` and `variant`. */
  readonly reference?: { readonly link: LinkName; readonly variant: string };
  readonly target?: Target;
  /** A peer that is no rival: it does something else, and only serves as a reference. */
  readonly onlyReference?: boolean;
  /** Left out when time is short. */
  readonly fullOnly?: boolean;
}

/** Cases that are measured in turns: A B C, A B C. */
export interface Scenario {
  readonly name: string;
  readonly title: string;
  readonly cases: readonly Case[];
  /** A measurement takes so many times as long as others: what is slow needs more time for as many samples. */
  readonly patience?: number;
  /**
   * All rounds are done so many times, with new processes: for differences of a few percent, since a process keeps the luck that its compiler
   * and its heap had.
   */
  readonly repetitions?: number;
}
