/* The wake-up handshake of one ring, between a producer and a consumer that both sleep: the consumer for data, the
 * producer for space. Every access to a shared word goes the way of native/ring/words.hpp.
 *
 * Memory is modelled as x86-64 has it: a store goes into the store buffer of its side and reaches memory later, in
 * order; loads read memory and do not wait for the buffer; a fence waits until the buffer is empty. A sequentially
 * consistent store is a store and a fence. That is the whole point: without store buffers every version is correct.
 *
 * A lost wake-up is a state in which both sides are stuck, which spin reports as an invalid end state. With -D one of
 *   NO_PUBLISH_FENCE   NO_DATA_SLEEP_FENCE   NO_RELEASE_FENCE   NO_SPACE_SLEEP_FENCE
 * that fence is deleted.
 */

#define CAPACITY 2
#define MESSAGES 5

#define PRODUCER 0
#define CONSUMER 1

#define HEAD 0
#define TAIL 1
#define WAITING_DATA 2
#define WAITING_SPACE 3

byte memory[4];
bool bell[2];        /* the doorbell of each side: rung and not yet drained */
byte slots[CAPACITY]; /* the payload, written before the head like any store */

/* One entry: which word, and its value. Payload slots are words 4 and up. */
chan store_buffer[2] = [4] of { byte, byte };

inline store(side, word, value) { store_buffer[side] ! word, value }
inline fence(side) { empty(store_buffer[side]) }

/* Stores reach memory one at a time, at any moment. */
proctype drain(byte side) {
  byte word, value;
end:
  do
  :: d_step {
       store_buffer[side] ? word, value ->
       if
       :: word < 4 -> memory[word] = value
       :: else -> slots[word - 4] = value
       fi
     }
  od
}

/* take_duty_to_ring and ring_doorbell: an atomic exchange, which empties the buffer first, then a system call. */
inline ring_if_waiting(side, flag, peer) {
  if
  :: memory[flag] == 1 ->
       fence(side);
       d_step { taken = memory[flag]; memory[flag] = 0 };
       if
       :: taken == 1 -> bell[peer] = true
       :: else -> skip
       fi
  :: else -> skip
  fi
}

proctype producer() {
  byte head = 0;
  byte taken;
  do
  :: head == MESSAGES -> break
  :: else ->
       if
       :: head - memory[TAIL] < CAPACITY ->
            store(PRODUCER, 4 + head % CAPACITY, head);
            head++;
            store(PRODUCER, HEAD, head); /* publish_position */
#ifndef NO_PUBLISH_FENCE
            fence(PRODUCER);
#endif
            ring_if_waiting(PRODUCER, WAITING_DATA, CONSUMER)
       :: else ->
            store(PRODUCER, WAITING_SPACE, 1); /* announce_sleep */
#ifndef NO_SPACE_SLEEP_FENCE
            fence(PRODUCER);
#endif
            if
            :: head - memory[TAIL] < CAPACITY -> store(PRODUCER, WAITING_SPACE, 0) /* announce_awake */
            :: else -> bell[PRODUCER]; bell[PRODUCER] = false /* sleep, wake, drain */
            fi
       fi
  od
}

proctype consumer() {
  byte position = 0;
  byte seen;
  byte taken;
  do
  :: position == MESSAGES -> break
  :: else ->
       seen = memory[HEAD];
       assert(seen - position <= CAPACITY);
       if
       :: seen != position ->
            assert(slots[position % CAPACITY] == position);
            position++;
            store(CONSUMER, TAIL, position); /* release: publish_position */
#ifndef NO_RELEASE_FENCE
            fence(CONSUMER);
#endif
            ring_if_waiting(CONSUMER, WAITING_SPACE, PRODUCER)
       :: else ->
            store(CONSUMER, WAITING_DATA, 1); /* announce_sleep */
#ifndef NO_DATA_SLEEP_FENCE
            fence(CONSUMER);
#endif
            if
            :: memory[HEAD] != position -> store(CONSUMER, WAITING_DATA, 0) /* announce_awake */
            :: else -> bell[CONSUMER]; bell[CONSUMER] = false /* sleep, wake, drain */
            fi
       fi
  od
}

init {
  atomic {
    run drain(PRODUCER);
    run drain(CONSUMER);
    run producer();
    run consumer()
  }
}
