// The channels of one server or client, and the one place that they sleep at: takes frames from all rings in batches,
// spins while that pays, and otherwise arms the doorbells.
//
// A channel is hot (read on every pass, its waiting flags clear) or cold (its flags set: the peer rings when it has
// news). Cold ones are also glanced at, a few per pass, so that a busy hub notices them without a system call. All
// channels are cold exactly when the hub may sleep.
//
// One thread uses a hub. Nothing here waits except `wait`.
#pragma once

#include <span>
#include <vector>

#include "../platform/cpu.hpp"
#include "../platform/poller.hpp"
#include "../platform/rendezvous.hpp"
#include "channel.hpp"

namespace spanwire::pump {

struct settings {
  std::int64_t spin_ns = 50'000;          // how long to spin after the last message before sleeping; 0: never
  std::int64_t work_limit_ns = 1'000'000; // the longest `turn` without giving the thread back
  bool leave_shared_cpu = true;           // move away from a CPU that the peer runs on
};

class hub {
 public:
  [[nodiscard]] static platform::result<std::unique_ptr<hub>> create(const settings& wanted);

  // ---- connections ----

  // Accepts connections from now on. The caller has bound and published it.
  [[nodiscard]] platform::result<void> listen(platform::listener listener);
  // Stops accepting and frees the address; channels live on.
  void stop_listening() noexcept;

  // Takes over a connected socket, in its handshake. Returns its slot. Slots are reused, but not before the next pass.
  [[nodiscard]] platform::result<u32> adopt(platform::unique_descriptor socket);

  [[nodiscard]] platform::result<void> send_handshake(u32 slot, std::span<const std::byte> bytes, bool with_memory);
  // An expected descriptor is kept for `open_memory`.
  [[nodiscard]] platform::result<platform::received> receive_handshake(u32 slot, std::span<std::byte> into,
                                                                       bool expect_memory);
  [[nodiscard]] platform::result<void> create_memory(u32 slot, u32 request_bytes, u32 response_bytes,
                                                     platform::reserve_function reserve = platform::reserve_space);
  [[nodiscard]] platform::result<void> open_memory(u32 slot);
  // Ends the handshake: the rings are in use. The memory must be there.
  void go_live(u32 slot, ring::role side);

  // Closes the connection and gives its memory back at once; addresses stay valid for whoever shares the segment.
  void remove(u32 slot) noexcept;
  void remove_all() noexcept;

  [[nodiscard]] channel* find(u32 slot) noexcept {
    return slot < channels_.size() ? channels_[slot].get() : nullptr;
  }
  [[nodiscard]] u32 channel_count() const noexcept { return channel_count_; }

  // ---- frames ----

  // One pass: fills `out` with events and frames, as many as fit, every channel in turn. What it reports stays valid
  // until its bytes are released; of control frames until the next pass.
  [[nodiscard]] u32 collect(std::span<entry> out);

  // Small payloads of data frames are copied here from now on, as entry.hpp says: `copy_places` places.
  void copy_small_payloads_to(std::span<std::byte> places) noexcept { copies_ = places; }

  // Wakes the peer if it announced that it sleeps. After publishing or releasing.
  void ring(u32 slot) noexcept;

  // Asks for an event once the tail of that lane has reached `target`. True: it has already, and no event will come.
  [[nodiscard]] bool want_room(u32 slot, lane which, u32 target) noexcept;

  // Leaves data in the ring, or takes it again.
  void pause(u32 slot, bool paused) noexcept;

  // An answer is expected there: read on every pass from now on.
  void expect(u32 slot) noexcept;

  // ---- sleeping and waking ----

  // Whether the hub has work or may get some by spinning: false when it is armed.
  [[nodiscard]] bool awake() const noexcept { return !hot_.empty() || !events_.empty(); }

  // Whether the peer of a hot channel is awake and runs, or last ran, on this CPU: then nothing comes while this thread
  // keeps it.
  [[nodiscard]] bool shares_cpu() noexcept;

  // Announces sleep to every hot peer and looks again. True: nothing is there, and the peers will ring.
  [[nodiscard]] bool arm() noexcept;

  // Where a hub that sleeps may begin when it is woken: whether a ring has news. Its channel is hot then, and `turn` hears the
  // doorbells afterwards: no answer has to wait for the system calls that this takes.
  [[nodiscard]] bool find_news() noexcept;

  // Looks at sockets, waiting up to `timeout_ms` (below 0: for ever). Channels that were rung become hot.
  [[nodiscard]] platform::result<void> poll_sockets(int timeout_ms);

  enum class turn_end : unsigned char {
    asleep,  // armed: the descriptor becomes readable when something comes
    busy,    // the work limit is reached: give others a turn, then call again
    stopped, // `deliver` said so; the hub may not exist any more
  };

  // Delivers batches until nothing comes any more and sleep is announced, or the work limit is reached. Spins only
  // while `*expecting` is not 0. `deliver` gets the count of entries in `batch`, and says whether to go on.
  template <typename Deliver>
  [[nodiscard]] turn_end turn(std::span<entry> batch, const std::int32_t* expecting, Deliver&& deliver) {
    const std::int64_t begin = platform::now_ns();
    clock_ns_ = begin;
    if (spin_begin_ns_ == 0) spin_begin_ns_ = begin;
    for (u32 steps = 0, batches = 0;;) {
      if (const u32 count = collect(batch); count > 0) {
        if (!deliver(count)) return turn_end::stopped;
        steps = 0;
        spin_begin_ns_ = 0;
        // Reading the clock costs as much as several messages, so not for every batch, unless batches are large.
        batches += 1 + count / 16;
        if (batches >= 16) {
          batches = 0;
          clock_ns_ = platform::now_ns();
        }
      } else if (rings_unheard_) {
        (void)poll_sockets(0); // as in find_news; only a bug could make it fail
      } else if (*expecting == 0 || !spin_step(++steps)) {
        spin_begin_ns_ = 0;
        if (arm()) return turn_end::asleep;
        steps = 0;
      }
      if (clock_ns_ - begin >= settings_.work_limit_ns) return turn_end::busy;
    }
  }

  // The same for a thread of its own: returns the count of the first batch that is not empty; 0: the time is over.
  // Blocks up to `timeout_ms` (below 0: for ever). `expecting` says that an answer is on its way, so it spins first.
  [[nodiscard]] platform::result<u32> wait(std::span<entry> batch, std::int64_t timeout_ms, bool expecting);

  // Readable when a socket is: what an event loop polls while the hub sleeps.
  [[nodiscard]] int descriptor() const noexcept { return poller_.descriptor(); }
  [[nodiscard]] std::int64_t spin_ns() const noexcept { return settings_.spin_ns; }

  hub(const hub&) = delete;
  hub& operator=(const hub&) = delete;
  ~hub();

 private:
  // What a glance at a cold channel needs, and nothing else: hundreds of them are read per scan.
  struct cold_entry {
    ring::producer_line* heads;
    u64 seen;
    channel* owner;
  };

  hub(const settings& wanted, platform::poller poller);

  [[nodiscard]] u32 take_from(channel& from, std::span<entry> out);
  template <lane which>
  [[nodiscard]] u32 take_lane(channel& from, ring::consumer& in, std::span<entry> out);
  void copy_if_small(const ring::consumer& in, const ring::record& found, const entry* place_of) noexcept;
  void glance_at_cold();
  void accept_all();
  void listen_to_doorbell(channel& rung, bool hung_up);
  void violate(channel& by, violation what, ring::fault detail = ring::fault::none);
  void end(channel& which) noexcept;
  void make_hot(channel& which) noexcept;
  void make_cold(channel& which, u64 seen) noexcept;
  void leave_list(channel& which) noexcept;
  static void announce(channel& which) noexcept;
  void settle(channel& announced) noexcept;
  [[nodiscard]] static bool has_room(channel& where, lane which) noexcept;
  [[nodiscard]] static bool has_news(channel& at, u64& seen) noexcept;
  [[nodiscard]] bool spin_step(u32 step) noexcept;
  [[nodiscard]] static bool can_leave() noexcept;
  void publish_cpu(channel& to) const noexcept;
  void push(u32 slot, event what, std::int32_t second = 0, std::int32_t third = 0);

  settings settings_;
  platform::poller poller_;
  std::optional<platform::listener> listener_;
  std::vector<std::unique_ptr<channel>> channels_; // by slot
  std::vector<u32> free_slots_;
  std::vector<u32> retired_slots_; // free after the next pass: a batch that is being read may still name them
  u32 channel_count_ = 0;
  std::vector<channel*> hot_;
  std::vector<cold_entry> cold_;
  std::vector<entry> events_;
  std::span<std::byte> copies_;
  const entry* batch_begin_ = nullptr; // of the pass that runs
  u32 pass_ = 0;
  u32 next_hot_ = 0;
  u32 next_cold_ = 0;
  u32 waits_ = 0;
  u32 cpu_ = platform::unknown_cpu;
  u32 shared_cpu_checks_ = 0;
  std::int64_t clock_ns_ = 0;      // as last read
  std::int64_t spin_begin_ns_ = 0; // 0: not spinning
  std::int64_t last_move_ns_ = 0;
  bool rings_unheard_ = false;  // after find_news
  bool awaits_answers_ = false; // a client's hub
  bool woke_peer_ = false;      // and has not heard of it since
  bool wait_awake_ = false;     // this time
  bool wait_pays_ = true;       // the answer came before this side slept
  u32 wakes_slept_ = 0;
};

} // namespace spanwire::pump
