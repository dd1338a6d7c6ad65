#include "inbox.hpp"

#include <cstring>

namespace spanwire::barretenberg {

namespace {

// The published server waits 100 ms for room. Clocks and schedulers are not exact.
constexpr std::int64_t patience_of_peer_ns = 90'000'000;

} // namespace

bool inbox::peek(message& out) noexcept {
  if (read_ == rescued_.size()) return ring_.refresh() && ring_.peek(out);
  std::memcpy(&out.length, rescued_.data() + read_, length_bytes);
  out.payload = rescued_.data() + read_ + length_bytes;
  return true;
}

bool inbox::drop(const message& peeked) noexcept {
  if (read_ == rescued_.size()) {
    message same{};
    return ring_.take(same);
  }
  read_ += length_bytes + peeked.length;
  if (read_ == rescued_.size()) {
    rescued_ = {}; // it may have been large, and is rarely needed
    read_ = 0;
  }
  return false;
}

bool inbox::rescue() {
  const u64 seen = std::exchange(seen_position_, ring_.position());
  if (seen != ring_.position()) return false;
  bool any = false;
  message next{};
  while (ring_.refresh() && ring_.take(next)) {
    const std::size_t at = rescued_.size();
    rescued_.resize(at + length_bytes + next.length);
    std::memcpy(rescued_.data() + at, &next.length, length_bytes);
    if (next.length > 0) std::memcpy(rescued_.data() + at + length_bytes, next.payload, next.length);
    any = true;
  }
  return any;
}

void inbox::look(bool fresh) noexcept {
  const std::int64_t now = platform::now_ns();
  if (!fresh && now - last_look_ns_ > patience_of_peer_ns) {
    may_have_lost_ = may_have_lost_ || ring_.producer_waits() || ring_.unread() > ring_.capacity() / 2;
  }
  last_look_ns_ = now;
}

} // namespace spanwire::barretenberg
