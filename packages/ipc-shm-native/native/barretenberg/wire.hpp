// One side of a connection: both rings, who is on the other side, and the waits of a thread that may block.
//
// One thread uses a wire. Only `wait_for_message` and `wait_for_room` wait.
#pragma once

#include <optional>
#include <span>

#include "futex.hpp"
#include "objects.hpp"
#include "process.hpp"
#include "spinner.hpp"

namespace spanwire::barretenberg {

enum class role : u8 { server, client };

// After this, whatever the peer wrote before it looked at a waiting flag has become visible. The published binaries do
// not order the two, so a wake-up can be lost at the moment when the flag is set: the first sleep is this short.
inline constexpr std::int64_t settle_ns = 1'000'000;

// The longest sleep of a thread that blocks: how late the end of the peer may be noticed.
inline constexpr std::int64_t slice_ns = 50'000'000;

enum class wait_end : u8 {
  ready,
  timed_out,
  peer_gone, // and nothing more is to come
  broken,    // see `broken`
  given_up,  // by who waits
};

class wire {
 public:
  wire(objects pair, role side, std::int64_t spin_ns) noexcept;
  wire(const wire&) = delete;
  wire& operator=(const wire&) = delete;

  // ---- messages ----

  // False: no room now, or broken. Copies; wakes the peer if it sleeps.
  [[nodiscard]] bool try_send(std::span<const std::byte> payload) noexcept;

  // Gives back what was taken, and wakes the peer if it waits for room.
  void release() noexcept;

  [[nodiscard]] producer& out() noexcept { return out_; }
  [[nodiscard]] consumer& in() noexcept { return in_; }
  [[nodiscard]] fault broken() const noexcept {
    return out_.broken() != fault::none ? out_.broken() : in_.broken();
  }

  // ---- waiting; `deadline_ns` is a time of `now_ns`, below 0: none ----

  // Asked after each slice of a wait: false gives it up.
  struct patience {
    bool (*goes_on)(void* context) noexcept;
    void* context;
  };

  // Until there is a message to take.
  [[nodiscard]] wait_end wait_for_message(std::int64_t deadline_ns, const patience* asked = nullptr) noexcept;
  // Until a payload of that size can be sent.
  [[nodiscard]] wait_end wait_for_room(u64 payload_bytes, std::int64_t deadline_ns,
                                       const patience* asked = nullptr) noexcept;

  // The words that sleepers of this side use, for who waits elsewhere.
  [[nodiscard]] u32& message_word() noexcept { return futex_word(in_.header().head); }
  [[nodiscard]] u32& message_flag() noexcept { return in_.header().consumer_waits; }
  [[nodiscard]] u32& room_word() noexcept { return futex_word(out_.header().tail); }
  [[nodiscard]] u32& room_flag() noexcept { return out_.header().producer_waits; }

  // ---- the other side ----

  // Whether nothing of a client before this one is under way, in either direction, and no answer to it can come any
  // more. Gives back what that client left unread. To be asked until it is true, before the first message.
  [[nodiscard]] bool settle_as_client() noexcept;
  // The rings are as a new client expects them.
  [[nodiscard]] bool clean() noexcept;

  void watch(process peer) noexcept { peer_.emplace(std::move(peer)); }
  void forget_peer() noexcept { peer_.reset(); }
  [[nodiscard]] const std::optional<process>& peer() const noexcept { return peer_; }

  // To be asked by a client, once it has settled.
  [[nodiscard]] bool peer_is_ours() noexcept { return load(in_.header().made_by_us) == our_mark; }

  // The peer ended, or said that it left.
  [[nodiscard]] bool peer_gone() noexcept;
  [[nodiscard]] bool peer_left() noexcept { return load(in_.header().producer_left) != 0; }
  // A peer that left may be followed by another one.
  void forgive_farewell() noexcept { store(in_.header().producer_left, u32{0}); }
  // Says that this side leaves. Only our own peers understand.
  void say_farewell() noexcept;

  [[nodiscard]] objects& shared() noexcept { return objects_; }
  [[nodiscard]] spinner& awake() noexcept { return spinner_; }

 private:
  template <typename Ready>
  [[nodiscard]] wait_end wait(u32& word, u32& flag, std::int64_t deadline_ns, const patience* asked,
                              Ready&& ready) noexcept;

  objects objects_;
  producer out_;
  consumer in_;
  spinner spinner_;
  std::optional<process> peer_;
};

} // namespace spanwire::barretenberg
