#if defined(__linux__)

#include <sched.h>
#include <time.h>

#include "cpu.hpp"

namespace spanwire::platform {

std::int64_t now_ns() noexcept {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return std::int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

std::uint32_t current_cpu() noexcept {
  const int cpu = sched_getcpu();
  return cpu < 0 ? unknown_cpu : static_cast<std::uint32_t>(cpu);
}

unsigned usable_cpus() noexcept {
  cpu_set_t allowed;
  // A machine with more CPUs than a cpu_set_t holds reports an error; it has plenty.
  if (sched_getaffinity(0, sizeof allowed, &allowed) != 0) return 2;
  return static_cast<unsigned>(CPU_COUNT(&allowed));
}

void yield_cpu() noexcept {
  sched_yield();
}

bool leave_cpu() noexcept {
  cpu_set_t allowed;
  const int cpu = sched_getcpu();
  if (cpu < 0 || cpu >= CPU_SETSIZE || sched_getaffinity(0, sizeof allowed, &allowed) != 0) return false;
  cpu_set_t others = allowed;
  CPU_CLR(cpu, &others);
  if (CPU_COUNT(&others) == 0 || sched_setaffinity(0, sizeof others, &others) != 0) return false;
  (void)sched_setaffinity(0, sizeof allowed, &allowed);
  return true;
}

} // namespace spanwire::platform

#endif
