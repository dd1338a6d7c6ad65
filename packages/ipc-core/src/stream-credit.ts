/** Credit of streams. An item costs its payload bytes; an empty one costs 1, or empty items would know no bound. */
export function itemCost(payloadBytes: number): number {
  return payloadBytes === 0 ? 1 : payloadBytes;
}

/** How many items an Observable that is sent as a stream may be ahead of its consumer. */
export const OVERFLOW_ITEMS = 1024;
