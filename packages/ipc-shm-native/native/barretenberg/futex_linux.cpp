#if defined(__linux__)

#include "futex.hpp"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>

namespace spanwire::barretenberg {

namespace {

constexpr std::int64_t ns_per_second = 1'000'000'000;

timespec to_timespec(std::int64_t ns) noexcept {
  return {static_cast<time_t>(ns / ns_per_second), static_cast<long>(ns % ns_per_second)};
}

// Older headers lack these; the numbers are the same on every architecture.
constexpr long futex_waitv_call = 449;
constexpr u32 word_of_32_bits = 2;

struct kernel_waiter {
  u64 value;
  u64 address;
  u32 flags;
  u32 reserved;
};
static_assert(sizeof(kernel_waiter) == 24);

} // namespace

void sleep_on(u32& word, u32 value, std::int64_t timeout_ns) noexcept {
  const timespec limit = to_timespec(timeout_ns);
  (void)syscall(SYS_futex, &word, FUTEX_WAIT, value, timeout_ns < 0 ? nullptr : &limit, nullptr, 0);
}

void wake_sleepers(u32& word) noexcept {
  (void)syscall(SYS_futex, &word, FUTEX_WAKE, INT_MAX, nullptr, nullptr, 0);
}

bool sleep_on_any(std::span<const watched_word> words, std::int64_t timeout_ns) noexcept {
  kernel_waiter waiters[4]{};
  const std::size_t count = std::min(words.size(), std::size(waiters));
  for (std::size_t i = 0; i < count; ++i) {
    waiters[i] = {words[i].value, reinterpret_cast<u64>(words[i].word), word_of_32_bits, 0};
  }
  timespec limit{};
  if (timeout_ns >= 0) {
    timespec now{};
    clock_gettime(CLOCK_MONOTONIC, &now); // this call takes a point in time
    limit = to_timespec(std::int64_t{now.tv_sec} * ns_per_second + now.tv_nsec + timeout_ns);
  }
  const long result =
      syscall(futex_waitv_call, waiters, count, 0, timeout_ns < 0 ? nullptr : &limit, CLOCK_MONOTONIC);
  return result >= 0 || (errno != ENOSYS && errno != EPERM && errno != EINVAL);
}

} // namespace spanwire::barretenberg

#endif
