// A thread that sleeps on the futex words of a wire, so that the event loop can sleep on a descriptor instead. It knows
// nothing of JavaScript, and nothing of messages: it only sees words change.
#pragma once

#include <pthread.h>

#include <atomic>
#include <memory>

#include "wire.hpp"

namespace spanwire::barretenberg {

// What the thread looks after, also while the event loop is awake: it may be busy for long.
class ward {
 public:
  // Every few milliseconds while it is guarded, and when something happened.
  virtual void tick() noexcept = 0;

 protected:
  ~ward() = default;
};

class watcher {
 public:
  // `many_words` false uses what kernels before 5.16 know: then it looks by itself twenty times a second.
  [[nodiscard]] static result<std::unique_ptr<watcher>> create(wire& watched, ward* guarded = nullptr,
                                                               bool many_words = true) noexcept;

  // What the event loop wants to know, and what it saw last.
  struct wanted {
    bool message; // also the peer's farewell
    u32 seen_message;
    bool room;
    u32 seen_room;
    bool guard; // guard the ward, before and after it happened
  };

  // Makes the descriptor readable once something of that happened. Once. The flags for the peer are the caller's to set
  // before, and to clear after.
  void arm(const wanted& what) noexcept;

  // It need not any more. It may just have happened.
  void disarm() noexcept;

  // The event loop is awake from now on: look after the ward until it is armed again.
  void guard() noexcept;

  // Takes what the descriptor has to say.
  void drain() noexcept;

  [[nodiscard]] int descriptor() const noexcept { return event_.get(); }

  watcher(const watcher&) = delete;
  watcher& operator=(const watcher&) = delete;
  // Blocks until the thread is gone: at once, since it sleeps on a word of ours, too (on an old kernel, 50 ms at most).
  ~watcher();

 private:
  watcher(wire& watched, ward* guarded, unique_descriptor event, bool many_words) noexcept
      : wire_{watched}, ward_{guarded}, event_{std::move(event)}, many_words_{many_words} {}

  void run() noexcept;
  void command(u32 what) noexcept;
  [[nodiscard]] bool happened(u32 command) noexcept;
  void sleep(u32 command, std::int64_t longest_ns) noexcept;

  // The low bits of a command say what to do; the others make each one different, for who sleeps on it.
  static constexpr u32 stop_bit = 1;
  static constexpr u32 armed_bit = 2;
  static constexpr u32 message_bit = 4;
  static constexpr u32 room_bit = 8;
  static constexpr u32 guard_bit = 16;
  static constexpr u32 step = 32;

  wire& wire_;
  ward* ward_;
  unique_descriptor event_;
  std::atomic<bool> many_words_;
  u32 command_ = 0; // written by the event loop, and by the thread to take the armed bit away
  std::atomic<u32> seen_message_ = 0;
  std::atomic<u32> seen_room_ = 0;
  pthread_t thread_{};
  bool running_ = false;
};

} // namespace spanwire::barretenberg
