// What comes in, for a side whose peer does not wait: the messages in the ring, after those that had to be rescued
// from it.
//
// The published server gives up an answer that finds no room in its ring for 100 ms, and says nothing: every later
// answer would then be taken for the one before. So a client must never leave its ring full for that long, also while
// JavaScript is busy with something else. The thread that sleeps for the event loop looks after the ring meanwhile, and
// moves what stays there into memory of this process.
#pragma once

#include <mutex>
#include <vector>

#include "wire.hpp"

namespace spanwire::barretenberg {

class inbox {
 public:
  explicit inbox(consumer& ring) noexcept : ring_{ring} {}

  // To be held around everything below: two threads look here.
  [[nodiscard]] std::unique_lock<std::mutex> lock() { return std::unique_lock{mutex_}; }

  [[nodiscard]] bool any() noexcept { return read_ < rescued_.size() || ring_.refresh(); }

  // The next message, which stays. False: none, or the ring is broken.
  [[nodiscard]] bool peek(message& out) noexcept;
  // Takes the message of the last `peek`. True: from the ring, so that `wire::release` is due.
  bool drop(const message& peeked) noexcept;

  // Moves everything from the ring, if what was there the last time is there still. True: `wire::release` is due.
  [[nodiscard]] bool rescue();

  // Somebody looks at the ring now. `fresh`: nothing was expected until just now.
  void look(bool fresh) noexcept;
  // Nobody looked for so long, with so little room left, that the peer may have given up an answer. Sticks.
  [[nodiscard]] bool may_have_lost() const noexcept { return may_have_lost_; }

 private:
  consumer& ring_;
  std::mutex mutex_;
  std::vector<std::byte> rescued_; // u32 length and payload, one after the other
  std::size_t read_ = 0;
  u64 seen_position_ = ~u64{0};
  std::int64_t last_look_ns_ = 0;
  bool may_have_lost_ = false;
};

} // namespace spanwire::barretenberg
