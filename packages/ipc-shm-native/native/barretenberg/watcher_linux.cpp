#if defined(__linux__)

#include "watcher.hpp"

#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>

namespace spanwire::barretenberg {

namespace {

// How often a ward is looked after. A fraction of what its peer is patient for.
constexpr std::int64_t tick_ns = 10'000'000;

} // namespace

result<std::unique_ptr<watcher>> watcher::create(wire& watched, ward* guarded, bool many_words) noexcept {
  unique_descriptor event{eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
  if (!event) return failure{"eventfd", errno};
  std::unique_ptr<watcher> made{new watcher{watched, guarded, std::move(event), many_words}};
  // Signals are for the threads that were there before.
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  const auto body = [](void* self) -> void* {
    static_cast<watcher*>(self)->run();
    return nullptr;
  };
  const int error = pthread_create(&made->thread_, nullptr, body, made.get());
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (error != 0) return failure{"pthread_create", error};
  made->running_ = true;
  return made;
}

watcher::~watcher() {
  if (!running_) return;
  command(stop_bit);
  pthread_join(thread_, nullptr);
}

void watcher::arm(const wanted& what) noexcept {
  // Partner: happened and sleep, in the thread. Ordered by the command that follows them.
  seen_message_.store(what.seen_message, std::memory_order_relaxed);
  seen_room_.store(what.seen_room, std::memory_order_relaxed);
  command(armed_bit | (what.message ? message_bit : 0) | (what.room ? room_bit : 0) |
          (what.guard ? guard_bit : 0));
}

// The thread sleeps on: the flags are clear, so nobody wakes it, and if somebody does it has nothing to report.
void watcher::disarm() noexcept {
  // Partner: the exchange in run. Where that came first the bit is gone already, or the descriptor says something in vain.
  const u32 now = load_relaxed(command_);
  if ((now & armed_bit) != 0) store(command_, (now & ~armed_bit) + step); // partner: run
}

void watcher::guard() noexcept {
  command(guard_bit);
}

void watcher::drain() noexcept {
  u64 count = 0;
  (void)!read(event_.get(), &count, sizeof count);
}

void watcher::command(u32 what) noexcept {
  // Partner: run, which takes nothing away but the armed bit, and that is set anew, or not, by `what`.
  store(command_, (load_relaxed(command_) & ~(step - 1)) + step + what);
  wake_sleepers(command_);
  // Without this it would notice at the end of its slice. Partner: sleep, which says so once and for ever.
  if (!many_words_.load(std::memory_order_relaxed)) wake_sleepers(wire_.message_word());
}

void watcher::run() noexcept {
  u32 settled = 0; // the command whose first, short sleep is over
  for (;;) {
    u32 now = load(command_); // partner: command and disarm
    if ((now & stop_bit) != 0) return;
    const bool guarding = (now & guard_bit) != 0 && ward_ != nullptr;
    if ((now & armed_bit) == 0) {
      sleep_on(command_, now, guarding ? tick_ns : for_ever);
      if (guarding) ward_->tick();
      continue;
    }
    if (!happened(now)) {
      // Not for ever while there is a ward: nobody wakes this thread when the event loop becomes busy.
      if (guarding && settled == now) ward_->tick();
      sleep(now, settled != now ? settle_ns : guarding ? tick_ns : for_ever);
      settled = now;
      continue;
    }
    // Not if the event loop commanded something else meanwhile: then look again. Partner: command and disarm.
    if (!std::atomic_ref(command_).compare_exchange_strong(now, (now & ~armed_bit) + step)) continue;
    const u64 one = 1;
    (void)!write(event_.get(), &one, sizeof one);
    if (guarding) ward_->tick();
  }
}

bool watcher::happened(u32 now) noexcept {
  // Partner of the words: the peer, which moves them and then looks at the flags that the event loop set before it armed
  // this. Partner of what was seen: arm, ordered by the command.
  const bool message = (now & message_bit) != 0 &&
                       (load(wire_.message_word()) != seen_message_.load(std::memory_order_relaxed) ||
                        wire_.peer_left());
  return message || ((now & room_bit) != 0 &&
                     load(wire_.room_word()) != seen_room_.load(std::memory_order_relaxed));
}

void watcher::sleep(u32 now, std::int64_t longest_ns) noexcept {
  // Partner: arm, ordered by the command.
  const u32 seen_message = seen_message_.load(std::memory_order_relaxed);
  const u32 seen_room = seen_room_.load(std::memory_order_relaxed);
  const bool message = (now & message_bit) != 0;
  const bool room = (now & room_bit) != 0;
  if (many_words_.load(std::memory_order_relaxed)) {
    watched_word words[3] = {{&command_, now}};
    std::size_t count = 1;
    if (message) words[count++] = {&wire_.message_word(), seen_message};
    if (room) words[count++] = {&wire_.room_word(), seen_room};
    // That may be for ever: the first, short sleep has made up for what the peer does not order.
    if (sleep_on_any(std::span{words}.first(count), longest_ns)) return;
    // Partner: command. Who reads the old value meanwhile wakes the first sleep below at the end of its slice.
    many_words_.store(false, std::memory_order_relaxed);
  }
  // One word at a time. Who waits for room looks often: that state is rare, and short.
  if (message) {
    sleep_on(wire_.message_word(), seen_message, room ? settle_ns : longest_ns < 0 ? slice_ns : longest_ns);
  } else {
    sleep_on(command_, now, room ? settle_ns : longest_ns);
  }
}

} // namespace spanwire::barretenberg

#endif
