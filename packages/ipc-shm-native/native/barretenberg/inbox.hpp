// What comes in, for a side whose peer does not wait: the messages in the ring, after those that had to be rescued
// from it.
//
// The published server gives up an answer that finds no room in its ring for 100 ms, and says nothing: every later
// answer would then be taken for the one before. So a client must not leave its ring full for that long, also while
// JavaScript is busy with something else. The thread that sleeps for the event loop looks after the ring meanwhile, and
// moves what stays there into memory of this process. If even that thread did not run for so long, messages are held
// back until it is certain that none is missing.
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

  [[nodiscard]] bool any() noexcept;

  // The next message of those that `any` saw, which stays. False: none, or the ring is broken.
  [[nodiscard]] bool peek(message& out) noexcept;
  // Takes the message of the last `peek`. True: from the ring, so that `wire::release` is due.
  bool drop(const message& peeked) noexcept;

  // Moves everything from the ring, if it was never seen empty since the last time, or while there is doubt. True:
  // `wire::release` is due.
  [[nodiscard]] bool rescue();

  // Judges what is there to be seen now. To be called after `any`, before what that saw is taken.
  void look() noexcept;
  // Nothing was expected until just now, so nothing was given up.
  void expect() noexcept;

  // The peer waits for room as long as it takes, like ours.
  void trust_peer() noexcept { trusted_ = true; }

  // For so long was the ring not seen empty that the peer may have given up a message.
  [[nodiscard]] bool doubtful() const noexcept { return doubt_; }
  // Moves everything from the ring, too: `wire::release` is due. `requests`: where they are written; `expected`: how many
  // of them have no answer yet. Still doubtful after it: they are not all answered. `lost`: they are, and too few came.
  void settle_doubt(producer& requests, std::size_t expected);
  // Sticks.
  [[nodiscard]] bool lost() const noexcept { return lost_; }

 private:
  bool move_all();
  std::int64_t judge() noexcept;

  consumer& ring_;
  std::mutex mutex_;
  std::vector<std::byte> rescued_; // u32 length and payload, one after the other
  std::size_t read_ = 0;
  std::size_t rescued_count_ = 0; // of those that were not read
  std::int64_t last_look_ns_ = 0;
  std::int64_t last_empty_ns_ = 0; // not after the last time when nothing can have waited for room
  bool was_empty_ = false;         // since the last `rescue`
  bool trusted_ = false;
  bool doubt_ = false;
  bool lost_ = false;
};

} // namespace spanwire::barretenberg
