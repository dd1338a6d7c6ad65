// The layout of Barretenberg's shared memory, as its published binaries have it: two named objects, each one ring.
//
//   NAME_request    written by the client, read by the server
//   NAME_response   written by the server, read by the client
//
//   an object (256 + capacity bytes; the capacity is a power of two)
//   +-------------------------------+ 0
//   | u64 head                      |  bytes ever written; the consumer sleeps on the low half
//   | u64 wrap_head                 |  where the last wrap skipped to the start; all ones: there was none
//   | u32 producer_waits            |  1: the producer sleeps until there is room
//   | u32 producer_left (at 56)     |  1: the producer left for good  } ours: the original
//   | u32 made_by_us (at 60)        |  in a response ring: our mark   } leaves these zero
//   +-------------------------------+ 64
//   | u64 tail                      |  bytes ever consumed; the producer sleeps on the low half
//   | u32 consumer_waits            |  1: the consumer sleeps until there is a message
//   +-------------------------------+ 128
//   | u64 capacity                  |
//   +-------------------------------+ 192
//   | u64 capacity - 1              |
//   +-------------------------------+ 256
//   | u32 length, payload; no       |
//   | alignment, no padding         |
//   +-------------------------------+
//
// A message never lies across the end: one that does not fit before it is written at the start, and the bytes between
// are skipped. All integers are little-endian.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>

namespace spanwire::barretenberg {

using u8 = std::uint8_t;
using u32 = std::uint32_t;
using u64 = std::uint64_t;

static_assert(std::endian::native == std::endian::little, "the ring is little-endian");

inline constexpr u64 never_wrapped = ~u64{0};
inline constexpr u32 length_bytes = 4;

inline constexpr u32 our_mark = 0x52575053; // "SPWR"

inline constexpr u64 min_capacity = 1u << 10;
inline constexpr u64 max_capacity = u64{1} << 40; // of what others made; far beyond what fits into memory

// The protocol above has no larger ones, whatever a ring could take.
inline constexpr u64 max_payload_bytes = (u64{1} << 30) - 1;

struct ring_header {
  u64 head;
  u64 wrap_head;
  u32 producer_waits;
  u32 unused_after_producer_waits[9];
  u32 producer_left;
  u32 made_by_us;
  alignas(64) u64 tail;
  u32 consumer_waits;
  u32 unused_after_consumer_waits[13];
  alignas(64) u64 capacity;
  alignas(64) u64 mask;
};

static_assert(sizeof(ring_header) == 256);
static_assert(offsetof(ring_header, head) == 0);
static_assert(offsetof(ring_header, wrap_head) == 8);
static_assert(offsetof(ring_header, producer_waits) == 16);
static_assert(offsetof(ring_header, producer_left) == 56);
static_assert(offsetof(ring_header, made_by_us) == 60);
static_assert(offsetof(ring_header, tail) == 64);
static_assert(offsetof(ring_header, consumer_waits) == 72);
static_assert(offsetof(ring_header, capacity) == 128);
static_assert(offsetof(ring_header, mask) == 192);

[[nodiscard]] constexpr bool is_power_of_two(u64 value) noexcept {
  return value != 0 && (value & (value - 1)) == 0;
}

// The largest payload of a ring: at most half of it is claimed at once, so that a message fits an empty ring at any
// offset, whatever has to be skipped before the end.
[[nodiscard]] constexpr u64 largest_payload_of(u64 capacity) noexcept {
  const u64 fits = capacity / 2 - length_bytes;
  return fits < max_payload_bytes ? fits : max_payload_bytes;
}

// What a peer did that no correct peer does.
enum class fault : u8 {
  none,
  head_out_of_range,    // the head ran backwards, or further than the capacity
  tail_out_of_range,    // the tail ran backwards, or past the head
  wrap_out_of_range,    // the skip to the start goes beyond what was published
  message_out_of_range, // the message is longer than what was published, or lies across the end
};

[[nodiscard]] constexpr const char* describe(fault value) noexcept {
  switch (value) {
    case fault::none: return "none";
    case fault::head_out_of_range: return "head out of range";
    case fault::tail_out_of_range: return "tail out of range";
    case fault::wrap_out_of_range: return "wrap beyond what was published";
    case fault::message_out_of_range: return "message longer than what was published";
  }
  return "unknown";
}

} // namespace spanwire::barretenberg
