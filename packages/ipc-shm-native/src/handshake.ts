/** The waker's half of the wake-up handshake, in JavaScript: `native/ring/words.hpp` has the other one, and test-native/litmus runs both. */

/**
 * Stores a position, then says whether the peer announced that it sleeps. Whoever gets `true` has to ring.
 *
 * Partner: load_position and announce_sleep in the peer. All four are sequentially consistent: the peer sees the position, or this sees
 * the flag. With a plain store both could miss the other, and the peer would sleep on.
 */
export function publish(words: Int32Array, at: number, position: number, waitingFlag: number): boolean {
  Atomics.store(words, at, position);
  return Atomics.load(words, waitingFlag) !== 0;
}
