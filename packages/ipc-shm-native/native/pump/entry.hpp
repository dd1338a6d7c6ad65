// What a pass over the channels reports: four 32-bit integers per entry, laid out for an Int32Array.
#pragma once

#include <cstddef>
#include <cstdint>

namespace spanwire::pump {

// A frame: `what` is its slot, with `control_lane` added if it came through the control ring; `first` is the offset of
// the payload from the start of its ring, `second` and `third` are the header words, loaded once.
// An event: `what` is the slot plus `event_bit`, `first` an event, the rest as said there.
struct entry {
  std::int32_t what;
  std::int32_t first;
  std::int32_t second;
  std::int32_t third;
};
static_assert(sizeof(entry) == 16);

inline constexpr std::int32_t control_lane = 1 << 30;
inline constexpr std::int32_t event_bit = 1 << 29;
inline constexpr std::int32_t slot_mask = event_bit - 1;

// Where small payloads of data frames are copied to, a place for each of the first entries of a batch: JavaScript keeps a view of each
// place, while of the ring it would have to make one for each message. Valid as long as the batch.
inline constexpr std::size_t copy_place_bytes = 128;
inline constexpr std::size_t copy_places = 64;

enum class event : std::int32_t {
  accepted = 1, // a new connection, in its handshake
  readable = 2, // handshake bytes, or the end of a connection in its handshake
  closed = 3,   // the peer is gone, and everything it sent has been reported
  violated = 4, // the peer broke the protocol; second: a `violation`, third: a ring::fault where it is one
  room = 5,     // the room that was wanted is there; second: the lane
  refused = 6,  // a connection was closed unseen, for want of descriptors; the slot has no meaning
  deaf = 7,     // the listening socket broke and accepts no more; second: errno; the slot has no meaning
};

enum class violation : std::int32_t {
  data_ring = 1,
  control_ring = 2,
  control_size = 3, // a control record that is shorter than its prefix, or too long
  doorbell = 4,     // more rings than were ever asked for
  descriptors = 5,  // descriptors passed where none may be
};

enum class lane : std::int32_t { data = 0, control = 1 };

} // namespace spanwire::pump
