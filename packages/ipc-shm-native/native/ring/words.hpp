// Access to the words that two processes share. Every function names its partner on the other side.
//
// The wake-up handshake is the Dekker pattern: each side stores one word and then loads the other's. Both pairs must be
// sequentially consistent, or each side may read the old value of the other's word and a wake-up is lost:
//
//   producer                     sleeper
//   publish_position(head)       announce_sleep(waiting)
//   peer_waits(waiting)          load_position(head)     (the re-check)
//
// The same pair of pairs carries news of space, with tail in the place of head. JavaScript takes part with
// Atomics.store and Atomics.load, which are sequentially consistent. `native/model` proves the pattern and shows that
// each of the two fences is needed.
#pragma once

#include <atomic>

#include "layout.hpp"

namespace spanwire::ring {

static_assert(std::atomic_ref<u32>::is_always_lock_free && std::atomic_ref<u32>::required_alignment == 4);
static_assert(std::atomic_ref<u64>::is_always_lock_free);

// Makes everything written before it visible to the peer, and starts the handshake.
// Partner: load_position in the peer (the bytes), announce_sleep in the peer (the handshake).
// `order` exists for the litmus test, which shows that a weaker one loses wake-ups.
template <std::memory_order order = std::memory_order_seq_cst>
inline void publish_position(u32& word, u32 position) noexcept {
  std::atomic_ref(word).store(position, order);
}

// Partner: publish_position in the peer. As the re-check after announce_sleep it must be sequentially consistent; on
// x86-64 and ARM64 that costs a load no more than acquire does.
[[nodiscard]] inline u32 load_position(u32& word) noexcept {
  return std::atomic_ref(word).load(std::memory_order_seq_cst);
}

// Sets a waiting flag of this side; the caller then re-checks the positions it waits for, and only then sleeps.
// Partner: peer_waits in the peer.
template <std::memory_order order = std::memory_order_seq_cst>
inline void announce_sleep(u32& waiting) noexcept {
  std::atomic_ref(waiting).store(1, order);
}

// Clears a waiting flag of this side: awake, no doorbell needed.
// Partner: peer_waits in the peer. A peer that still reads 1 rings once in vain, hence relaxed.
inline void announce_awake(u32& waiting) noexcept {
  std::atomic_ref(waiting).store(0, std::memory_order_relaxed);
}

// Whether the peer announced that it sleeps. Comes after publish_position.
// Partner: announce_sleep in the peer.
[[nodiscard]] inline bool peer_waits(u32& waiting) noexcept {
  return std::atomic_ref(waiting).load(std::memory_order_seq_cst) != 0;
}

// Takes the duty to ring: true exactly once for each announcement, so that a burst of messages rings once.
// Partner: announce_sleep in the peer, which starts the next round.
[[nodiscard]] inline bool take_duty_to_ring(u32& waiting) noexcept {
  return std::atomic_ref(waiting).exchange(0, std::memory_order_seq_cst) != 0;
}

// Hints and record words. Partner: publish_position before load_position orders record words; the CPU hint needs no
// order. Atomic because a hostile peer may write at any moment; relaxed compiles to a plain load.
[[nodiscard]] inline u32 load_relaxed(u32& word) noexcept {
  return std::atomic_ref(word).load(std::memory_order_relaxed);
}
inline void store_relaxed(u32& word, u32 value) noexcept {
  std::atomic_ref(word).store(value, std::memory_order_relaxed);
}

// Both heads of a producer line in one load, to see whether either lane moved.
// Partner: publish_position in the peer. Relaxed: who sees a change loads the head itself with load_position.
[[nodiscard]] inline u64 load_both_heads(producer_line& line) noexcept {
  return std::atomic_ref(*reinterpret_cast<u64*>(&line)).load(std::memory_order_relaxed);
}

} // namespace spanwire::ring
