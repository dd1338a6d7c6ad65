#include "inbox.hpp"

#include <cstring>

namespace spanwire::barretenberg {

namespace {

// The published server waits 100 ms for room. Clocks and schedulers are not exact.
constexpr std::int64_t patience_of_peer_ns = 90'000'000;

} // namespace

bool inbox::any() noexcept {
  if (ring_.refresh()) return true;
  was_empty_ = true;
  last_empty_ns_ = std::max(last_empty_ns_, last_look_ns_); // later, but not earlier
  return rescued_count_ > 0;
}

bool inbox::peek(message& out) noexcept {
  // Not more than what was judged: the ring may have been full for long before the rest came.
  if (rescued_count_ == 0) return ring_.peek(out);
  std::memcpy(&out.length, rescued_.data() + read_, length_bytes);
  out.payload = rescued_.data() + read_ + length_bytes;
  return true;
}

bool inbox::drop(const message& peeked) noexcept {
  if (rescued_count_ == 0) {
    message same{};
    return ring_.take(same);
  }
  read_ += length_bytes + peeked.length;
  if (--rescued_count_ == 0) {
    rescued_ = {}; // it may have been large, and is rarely needed
    read_ = 0;
  }
  return false;
}

bool inbox::rescue() {
  return (!std::exchange(was_empty_, false) || doubt_) && move_all();
}

bool inbox::move_all() {
  const std::int64_t begin = platform::now_ns();
  bool any = false;
  message next{};
  while (ring_.refresh() && ring_.take(next)) {
    const std::size_t at = rescued_.size();
    rescued_.resize(at + length_bytes + next.length);
    std::memcpy(rescued_.data() + at, &next.length, length_bytes);
    if (next.length > 0) std::memcpy(rescued_.data() + at + length_bytes, next.payload, next.length);
    ++rescued_count_;
    any = true;
  }
  if (any) judge();
  was_empty_ = true;
  last_look_ns_ = last_empty_ns_ = begin; // it is empty, and later than that
  return any;
}

// After messages were seen: how long may the first of them have been in the way of others?
std::int64_t inbox::judge() noexcept {
  const std::int64_t now = platform::now_ns();
  if (!trusted_ && now - last_empty_ns_ > patience_of_peer_ns) doubt_ = true;
  return now;
}

void inbox::look() noexcept {
  if (ring_.seen_head() != ring_.position()) {
    last_look_ns_ = judge();
    return;
  }
  last_look_ns_ = platform::now_ns();
  if (ring_.unread() == 0) last_empty_ns_ = last_look_ns_;
}

void inbox::expect() noexcept {
  last_look_ns_ = last_empty_ns_ = platform::now_ns();
}

void inbox::settle_doubt(producer& requests, std::size_t expected) {
  // In this order: a request is read for good once its answer is there, or was given up.
  const bool answered = requests.drained();
  (void)move_all();
  if (!answered || ring_.broken() != fault::none) return;
  lost_ = rescued_count_ < expected;
  doubt_ = lost_;
  expect();
}

} // namespace spanwire::barretenberg
