// Where this thread runs, and what to do while it waits for the other side of a ring.
#pragma once

#include <cstdint>

#if defined(__x86_64__) || defined(_M_X64)
#include <immintrin.h>
#endif

namespace spanwire::platform {

inline constexpr std::uint32_t unknown_cpu = 0xffff'ffff;

// Tells the processor that this is a spin loop.
inline void relax() noexcept {
#if defined(__x86_64__) || defined(_M_X64)
  _mm_pause();
#elif defined(__aarch64__) && !defined(_MSC_VER)
  asm volatile("isb" ::: "memory");
#endif
}

// Nanoseconds of a clock that never goes back. About 25 ns per call.
[[nodiscard]] std::int64_t now_ns() noexcept;

// The CPU that this thread runs on, or `unknown_cpu`. A few nanoseconds.
[[nodiscard]] std::uint32_t current_cpu() noexcept;

// How many CPUs this thread may run on; with one, spinning for another process only keeps it from running.
[[nodiscard]] unsigned usable_cpus() noexcept;

void yield_cpu() noexcept;

// Moves this thread off its CPU: takes that one out of the affinity mask and puts the mask back. False when the mask
// has no other CPU. A system call or three and a migration, so callers limit how often.
bool leave_cpu() noexcept;

} // namespace spanwire::platform
