/** What is measured: Spanwire's transports, and what one would use instead. */

/** In the order of the report. */
export const transportNames = ['shm', 'shm-blocking', 'memory', 'unix', 'tcp'] as const;
export const peerNames = [
  'child-process-json',
  'child-process-advanced',
  'net',
  'net-batched',
  'message-port',
  'zeromq',
] as const;

/** Barretenberg's server on its own shared memory: by our client, and by its own. In scenarios of their own. */
export const barretenbergNames = ['barretenberg-spanwire', 'barretenberg-published'] as const;

/** The rings of shared memory with nothing above them: no rival, but what JavaScript reaches with them. */
export const bareName = 'bare-rings';

export type TransportName = (typeof transportNames)[number];
/** Those with promises and Observables. */
export type ReactiveName = Exclude<TransportName, 'shm-blocking'>;
export type PeerName = (typeof peerNames)[number] | (typeof barretenbergNames)[number] | typeof bareName;
export type LinkName = TransportName | PeerName;

export function isReactive(link: LinkName): link is ReactiveName {
  return isTransport(link) && link !== 'shm-blocking';
}

export function isTransport(link: LinkName): link is TransportName {
  return (transportNames as readonly string[]).includes(link);
}

/** Why a link cannot be had on this system; everything else that is missing is a failure. */
export function missingHere(link: LinkName): string | undefined {
  return (link.startsWith('shm') || link === bareName) && process.platform !== 'linux'
    ? 'shared memory is for Linux only'
    : undefined;
}
