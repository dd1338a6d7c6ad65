/** For tests of seconds of work: where each process waits for its turn on a busy machine, that takes minutes. */
export const LONG = { timeout: 600_000 } as const;
