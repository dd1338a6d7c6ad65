// Whether to wait awake for the other side, and how long: spinning pays while answers come faster than a thread wakes.
#pragma once

#include <algorithm>

#include "../platform/cpu.hpp"

namespace spanwire::barretenberg {

class spinner {
 public:
  // `budget_ns` 0 never spins. With one CPU, spinning only keeps the peer from running.
  explicit spinner(std::int64_t budget_ns) noexcept
      : budget_ns_{platform::usable_cpus() > 1 ? budget_ns : 0} {}

  // The wait is new: nothing is known of it but how the last ones ended.
  void begin() noexcept {
    begin_ns_ = 0;
    steps_ = 0;
    yielded_ = false;
    spins_ = budget_ns_ > 0 && skip_ == 0;
    if (skip_ > 0) --skip_;
  }

  // One step awake. False: sleep now.
  [[nodiscard]] bool step() noexcept {
    if (!spins_) return false;
    if (++steps_ % steps_per_look == 0) {
      const std::int64_t now = platform::now_ns();
      if (begin_ns_ == 0) begin_ns_ = now;
      const std::int64_t spent = now - begin_ns_;
      if (spent >= budget_ns_) return false;
      // The peer does not say where it runs. If it waits for this very CPU, this lets it; if not, it costs little.
      if (spent >= ns_before_yield) {
        yielded_ = true;
        platform::yield_cpu();
      }
    }
    platform::relax();
    return true;
  }

  // What was waited for came while awake.
  void came() noexcept {
    penalty_ = 0;
    if (!yielded_) {
      after_yield_ = 0;
      return;
    }
    // Again and again only after this CPU was given up: both run here.
    if (++after_yield_ >= times_before_move) leave(after_yield_);
  }

  // Waking the peer took so long. Where it runs on this CPU it comes first: it answers, and keeps spinning.
  void woke(std::int64_t took_ns) noexcept {
    if (took_ns < ns_of_preemption || budget_ns_ == 0) {
      preempted_ = 0;
    } else if (++preempted_ >= times_before_move) {
      leave(preempted_);
    }
  }

  // It came after a sleep; all in all it took this long. Where that is not worth spinning for, ever fewer of the next
  // waits spin: one in a while still does, since sleeping takes long by itself on a busy machine.
  void came_late(std::int64_t waited_ns) noexcept {
    penalty_ = waited_ns < 2 * budget_ns_ ? 0 : std::min(2 * penalty_ + 1, most_skipped);
    skip_ = penalty_;
  }

  [[nodiscard]] std::int64_t budget_ns() const noexcept { return budget_ns_; }

 private:
  void leave(unsigned& counter) noexcept {
    counter = 0;
    const std::int64_t now = platform::now_ns();
    if (now - last_move_ns_ < least_ns_between_moves) return;
    last_move_ns_ = now;
    (void)platform::leave_cpu();
  }

  static constexpr unsigned steps_per_look = 16;
  static constexpr unsigned times_before_move = 4;
  static constexpr unsigned most_skipped = 15;
  static constexpr std::int64_t ns_before_yield = 10'000;
  // A wake-up of another CPU takes a few microseconds at most.
  static constexpr std::int64_t ns_of_preemption = 20'000;
  static constexpr std::int64_t least_ns_between_moves = 10'000'000;

  std::int64_t budget_ns_;
  std::int64_t begin_ns_ = 0;
  std::int64_t last_move_ns_ = 0;
  unsigned steps_ = 0;
  unsigned after_yield_ = 0;
  unsigned preempted_ = 0;
  unsigned penalty_ = 0;
  unsigned skip_ = 0; // waits that do not spin
  bool yielded_ = false;
  bool spins_ = false;
};

} // namespace spanwire::barretenberg
