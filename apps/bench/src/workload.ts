/** What a client does, and what the server has to be for it. Plain data: it crosses processes as JSON. */
import type { LinkName } from './links.ts';

/** How the program on the client is written: an `await` each, a subscription each, or one pipeline for all. */
export type Style = 'promise' | 'observable' | 'requestEach';
/** A pipeline has no bursts. */
export type BurstStyle = Exclude<Style, 'requestEach'>;

export type Workload =
  /** One request at a time. With `everyMs` the link is idle in between; `borrowed`: answers are read where they are, and not copied. */
  | { readonly kind: 'request'; readonly bytes: number; readonly everyMs?: number; readonly borrowed?: boolean }
  /** `depth` requests under way at any time. `server`: its pipeline is written with `map`, or is a bare callback. */
  | {
      readonly kind: 'pipelined';
      readonly bytes: number;
      readonly depth: number;
      readonly style: Style;
      readonly server?: 'map' | 'callback';
    }
  /** `depth` requests at once, then none until all are answered. */
  | { readonly kind: 'burst'; readonly bytes: number; readonly depth: number; readonly style: BurstStyle }
  /** Messages without answers, as fast as the server takes them. */
  | { readonly kind: 'one-way'; readonly bytes: number }
  /** Large requests that the server reads in place and answers with nothing; `ringBytes` is the ring or window. */
  | { readonly kind: 'large'; readonly bytes: number; readonly ringBytes: number; readonly depth: number }
  /** Requests at fixed times, whether or not earlier ones are answered; latency counts from the intended time. */
  | { readonly kind: 'open-loop'; readonly bytes: number; readonly perSecond: number }
  /** One request at a time, on one of `clients` connections or on each. */
  | { readonly kind: 'clients'; readonly bytes: number; readonly clients: number; readonly active: 'one' | 'all' }
  /** One request at a time, while `slow` other clients keep the server's windows full. */
  | { readonly kind: 'fairness'; readonly bytes: number; readonly slow: number }
  /** Requests that are answered with a stream of `items`. */
  | {
      readonly kind: 'stream';
      readonly bytes: number;
      readonly items: number;
      readonly source: 'iterable' | 'observable';
    }
  /** Requests that are given up: the time until the server's handler knows, and the client knows that. */
  | { readonly kind: 'cancel' }
  /** Connected, and nothing to do. */
  | { readonly kind: 'idle'; readonly bytes: number }
  /** What each more connected client costs the server. */
  | { readonly kind: 'memory'; readonly clients: number };

/** A link and what is done with it: everything that a client process has to know. */
export interface Job {
  readonly link: LinkName;
  readonly workload: Workload;
  /** A folder for this job's sockets. */
  readonly place: string;
}
