/** What a peer has to be able to do; each is one file, written the way that its own documentation would. */

export interface PeerOptions {
  /** 0: the server gives every message back. Else it only says when so many more have come. */
  readonly countEvery: number;
  /** Every message is this long. */
  readonly bytes: number;
  /** A folder for sockets. */
  readonly place: string;
}

export interface PeerClient {
  /** The process that the server is in; null when it is this one. */
  readonly serverPid: number | null;
  post(message: Uint8Array): void;
  /** As if `post` was called `count` times, where the peer has a better way. */
  postMany?(message: Uint8Array, count: number): void;
  /** Called with each answer, in order; `count` when more than one came at once. */
  onAnswer: (answer: Uint8Array, count: number) => void;
}

export interface Peer {
  /** Why it cannot be measured here. */
  missing?(): Promise<string | undefined>;
  /** Starts a server, in a process of its own unless the peer is made for one process, and connects to it. */
  open(options: PeerOptions): Promise<PeerClient>;
  /** The server, where {@link open} starts one with `forkPeerServer`. Resolves when it can be connected to. */
  serve?(options: PeerOptions): Promise<void>;
}

export const NOTHING: Uint8Array = new Uint8Array(0);

/** A server that counts: `onCount` is called when `every` more messages are there. */
export function counter(every: number, onCount: () => void): () => void {
  let missing = every;
  return () => {
    if (--missing > 0) return;
    missing = every;
    onCount();
  };
}
