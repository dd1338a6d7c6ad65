#include "wire.hpp"

#include <algorithm>

#include "../ring/copy.hpp"

namespace spanwire::barretenberg {

namespace {

ring_memory written_by(role side, const objects& pair) noexcept {
  return side == role::client ? pair.request.ring() : pair.response.ring();
}

role opposite(role side) noexcept {
  return side == role::client ? role::server : role::client;
}

} // namespace

wire::wire(objects pair, role side, std::int64_t spin_ns) noexcept
    : objects_{std::move(pair)}, out_{written_by(side, objects_)}, in_{written_by(opposite(side), objects_)},
      spinner_{spin_ns} {
  if (side == role::server) store(out_.header().made_by_us, our_mark);
}

bool wire::try_send(std::span<const std::byte> payload) noexcept {
  std::byte* const into = out_.try_claim(payload.size());
  if (into == nullptr) return false;
  spanwire::ring::copy_to_peer(into, payload);
  out_.publish();
  if (out_.consumer_waits()) {
    const std::int64_t begin = platform::now_ns();
    wake_sleepers(futex_word(out_.header().head));
    spinner_.woke(platform::now_ns() - begin);
  }
  return true;
}

void wire::release() noexcept {
  in_.release();
  if (in_.producer_waits()) wake_sleepers(futex_word(in_.header().tail));
}

wait_end wire::wait_for_message(std::int64_t deadline_ns, const patience* asked) noexcept {
  return wait(message_word(), message_flag(), deadline_ns, asked, [this] { return in_.refresh(); });
}

wait_end wire::wait_for_room(u64 payload_bytes, std::int64_t deadline_ns, const patience* asked) noexcept {
  return wait(room_word(), room_flag(), deadline_ns, asked,
              [this, payload_bytes] { return out_.room_for(payload_bytes); });
}

template <typename Ready>
wait_end wire::wait(u32& word, u32& flag, std::int64_t deadline_ns, const patience* asked, Ready&& ready) noexcept {
  if (ready()) return wait_end::ready;
  if (broken() != fault::none) return wait_end::broken;
  spinner_.begin();
  while (spinner_.step()) {
    if (!ready()) continue;
    spinner_.came();
    return wait_end::ready;
  }
  if (broken() != fault::none) return wait_end::broken;

  const std::int64_t asleep_since = platform::now_ns();
  store(flag, u32{1}); // partner: the peer, which looks at it after it moved the word
  wait_end end = wait_end::ready;
  for (std::int64_t longest = settle_ns;; longest = slice_ns) {
    // Before the look: if the word moves after it, the sleep ends at once.
    const u32 seen = load(word);
    if (ready()) break;
    if (broken() != fault::none) {
      end = wait_end::broken;
      break;
    }
    const std::int64_t now = platform::now_ns();
    if (deadline_ns >= 0 && now >= deadline_ns) {
      end = wait_end::timed_out;
      break;
    }
    if (peer_gone()) {
      // What it published before counts.
      if (!ready()) end = wait_end::peer_gone;
      break;
    }
    if (longest == slice_ns && asked != nullptr && !asked->goes_on(asked->context)) {
      end = wait_end::given_up;
      break;
    }
    sleep_on(word, seen, deadline_ns < 0 ? longest : std::min(longest, deadline_ns - now));
  }
  store_relaxed(flag, u32{0}); // a peer that still reads 1 wakes nobody
  if (end == wait_end::ready) spinner_.came_late(spinner_.budget_ns() + platform::now_ns() - asleep_since);
  return end;
}

bool wire::settle_as_client() noexcept {
  // In this order: a server that sleeps, while nothing is left to read, has written all its answers.
  const bool asleep = out_.consumer_waits();
  const bool all_read = out_.drained();
  in_.discard();
  if (in_.producer_waits()) wake_sleepers(futex_word(in_.header().tail));
  if (!asleep || !all_read || broken() != fault::none) return false;
  // Ours may still be at work for a client that left, until it has taken notice of that.
  if (peer_is_ours()) return load(out_.header().producer_left) == 0;
  store(out_.header().producer_left, u32{0});
  return true;
}

bool wire::clean() noexcept {
  return out_.drained() && load(in_.header().head) == in_.position();
}

bool wire::peer_gone() noexcept {
  return peer_left() || (peer_.has_value() && peer_->ended());
}

void wire::say_farewell() noexcept {
  store(out_.header().producer_left, u32{1});
  // It sleeps on one of these, if it sleeps.
  wake_sleepers(futex_word(out_.header().head));
  wake_sleepers(futex_word(in_.header().tail));
}

} // namespace spanwire::barretenberg
