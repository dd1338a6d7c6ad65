// The floor under every figure of the benchmarks: what two native processes reach on this machine at this moment, with
// the same rings and nothing above them. Prints one line of JSON.
//
//   floor [--only LIST] [--rounds N] [--copy BYTES] [--cpus A,B]
//
//   --only     a comma-separated choice of ring, eventfd, cold, memcpy and transfer; default all but transfer
//   --rounds   default 200000
//   --copy     the size of what is copied, or transferred; default 1 MiB, at most 128 MiB
//   --cpus     default: as the scheduler likes
//
//   ringRoundTripNs     64 bytes there and back through the request and response ring, both sides spinning
//   eventfdRoundTripNs  a wake-up there and back with two eventfds, both sides sleeping, back to back
//   eventfdColdNs       the same, once every 10 ms
//   memcpyGBs           copying from buffer to buffer (eight of each in turn), read and write counted once
//   transferGBs         messages from one process to the other through a ring of eight of them, two at once, of which
//                       the reader looks into each cache line: what memcpy becomes where caches are apart
#if defined(__linux__)

#include <poll.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "../platform/cpu.hpp"
#include "../platform/memory.hpp"
#include "../ring/copy.hpp"

namespace {

using namespace spanwire;
using ring::consumer;
using ring::producer;
using ring::u32;

struct options {
  std::string only = "ring,eventfd,cold,memcpy";
  u32 rounds = 200'000;
  std::size_t copy_bytes = 1 << 20;
  int cpus[2] = {-1, -1};
};

struct percentiles {
  double p50;
  double p99;
};

percentiles of(std::vector<std::int64_t>& samples, double divisor) {
  std::sort(samples.begin(), samples.end());
  const auto at = [&](double share) {
    return static_cast<double>(samples[static_cast<std::size_t>(share * static_cast<double>(samples.size() - 1))]) /
           divisor;
  };
  return {at(0.5), at(0.99)};
}

[[noreturn]] void fail(const char* what) {
  std::fprintf(stderr, "floor: %s failed\n", what);
  std::exit(1);
}

void pin(int cpu) {
  if (cpu < 0) return;
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(cpu, &set);
  if (sched_setaffinity(0, sizeof set, &set) != 0) fail("sched_setaffinity");
}

// Runs `child` in another process, which ends with this one.
template <typename Child>
pid_t start(const options& wanted, Child child) {
  const pid_t made = fork();
  if (made < 0) fail("fork");
  if (made != 0) {
    pin(wanted.cpus[0]);
    return made;
  }
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  pin(wanted.cpus[1]);
  child();
  _exit(0);
}

void stop(pid_t child) {
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
}

// Never sleeps, but lets the other one run when both are on one CPU.
void take_one(consumer& in, ring::record& out, std::byte* copy) {
  for (u32 spins = 0; !in.refresh(); ++spins) {
    if (spins % 4096 == 4095) {
      platform::yield_cpu();
    } else {
      platform::relax();
    }
  }
  if (!in.take(out)) fail("take");
  std::memcpy(copy, in.payload(out), out.length());
  in.release_all();
}

void send_one(producer& out, const std::byte* bytes) {
  std::byte* const payload = out.try_claim(64);
  if (payload == nullptr) fail("claim");
  std::memcpy(payload, bytes, 64);
  out.publish(64, 1);
}

percentiles ring_round_trip(const options& wanted) {
  auto made = platform::create_segment({0, 1 << 20, 1 << 20});
  if (!made) fail(made.error().operation);
  const auto side = [&](ring::role which) {
    return ring::endpoint::of(made->memory.base(), made->where, which);
  };
  const pid_t child = start(wanted, [&] {
    const auto server = side(ring::role::server);
    consumer in{server.data_in};
    producer out{server.data_out};
    std::byte bytes[64];
    for (ring::record found{};;) {
      take_one(in, found, bytes);
      send_one(out, bytes);
    }
  });
  const auto client = side(ring::role::client);
  consumer in{client.data_in};
  producer out{client.data_out};
  std::byte bytes[64]{};
  constexpr u32 batch = 16; // reading the clock costs about a quarter of a round trip
  std::vector<std::int64_t> samples;
  const u32 warm_up = wanted.rounds / 10;
  ring::record found{};
  for (u32 i = 0; i < wanted.rounds + warm_up; i += batch) {
    const auto begin = platform::now_ns();
    for (u32 j = 0; j < batch; ++j) {
      send_one(out, bytes);
      take_one(in, found, bytes);
    }
    if (i >= warm_up) samples.push_back(platform::now_ns() - begin);
  }
  stop(child);
  return of(samples, batch);
}

void wait_for(int descriptor) {
  pollfd waiting{descriptor, POLLIN, 0};
  (void)poll(&waiting, 1, -1);
  eventfd_t count = 0;
  if (eventfd_read(descriptor, &count) != 0) fail("eventfd_read");
}

percentiles eventfd_round_trip(const options& wanted, u32 rounds, long pause_ms) {
  const int there = eventfd(0, EFD_CLOEXEC);
  const int back = eventfd(0, EFD_CLOEXEC);
  if (there < 0 || back < 0) fail("eventfd");
  const pid_t child = start(wanted, [&] {
    for (;;) {
      wait_for(there);
      eventfd_write(back, 1);
    }
  });
  std::vector<std::int64_t> samples;
  for (u32 i = 0; i < rounds; ++i) {
    if (pause_ms > 0) {
      const timespec pause{0, pause_ms * 1'000'000};
      nanosleep(&pause, nullptr);
    }
    const auto begin = platform::now_ns();
    eventfd_write(there, 1);
    wait_for(back);
    samples.push_back(platform::now_ns() - begin);
  }
  stop(child);
  close(there);
  close(back);
  return of(samples, 1);
}

double memcpy_gb_per_s(std::size_t message) {
  const std::size_t ring = 8 * message;
  const std::size_t copies = std::clamp<std::size_t>((std::size_t{400} << 20) / message, 16, 400);
  std::vector<std::byte> from(ring, std::byte{1});
  std::vector<std::byte> to(ring, std::byte{2});
  std::vector<std::int64_t> samples;
  for (std::size_t i = 0; i < copies; ++i) {
    const std::size_t at = i * message % ring;
    const auto begin = platform::now_ns();
    std::memcpy(to.data() + at, from.data() + at, message);
    asm volatile("" ::"r"(to.data()) : "memory"); // the copy must really happen
    samples.push_back(platform::now_ns() - begin);
  }
  return static_cast<double>(message) / of(samples, 1).p50;
}

// Only the lines are read: what is in them does not matter, and nothing is copied out.
void look_into_lines(const std::byte* payload, u32 length) {
  std::byte all{};
  for (u32 at = 0; at < length; at += 64) all |= payload[at];
  asm volatile("" ::"r"(all));
}

double transfer_gb_per_s(const options& wanted) {
  const auto message = static_cast<u32>(wanted.copy_bytes);
  auto made = platform::create_segment({0, 8 * std::bit_ceil(message), 1 << 20});
  if (!made) fail(made.error().operation);
  const auto side = [&](ring::role which) {
    return ring::endpoint::of(made->memory.base(), made->where, which);
  };
  const pid_t child = start(wanted, [&] {
    consumer in{side(ring::role::server).data_in};
    for (ring::record found{};;) {
      while (!in.refresh()) platform::relax();
      while (in.take(found)) {
        look_into_lines(in.payload(found), found.length());
        in.release_all();
      }
    }
  });
  producer out{side(ring::role::client).data_out};
  const auto wait_until_read = [&](u32 position) {
    while (!out.released(position)) platform::relax();
  };
  const std::vector<std::byte> from(message, std::byte{1});
  const u32 messages = std::clamp<u32>((u32{2} << 30) / message, 32, 2000);
  const u32 warm_up = messages / 10;
  std::int64_t begin = 0;
  for (u32 i = 0; i < messages + warm_up; ++i) {
    if (i == warm_up) begin = platform::now_ns();
    const u32 before = out.head();
    std::byte* const payload = out.try_claim(message);
    if (payload == nullptr) fail("claim");
    ring::copy_to_peer(payload, from);
    out.publish(message, 1);
    wait_until_read(before); // while one is read the next is written
  }
  wait_until_read(out.head());
  const auto took = platform::now_ns() - begin;
  stop(child);
  return static_cast<double>(message) * messages / static_cast<double>(took);
}

options parse(int argc, char** argv) {
  options wanted;
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string name = argv[i];
    if (name == "--only") {
      wanted.only = argv[i + 1];
    } else if (name == "--copy") {
      wanted.copy_bytes = std::strtoul(argv[i + 1], nullptr, 10);
    } else if (name == "--rounds") {
      wanted.rounds = static_cast<u32>(std::strtoul(argv[i + 1], nullptr, 10));
    } else if (name == "--cpus") {
      if (std::sscanf(argv[i + 1], "%d,%d", &wanted.cpus[0], &wanted.cpus[1]) != 2) fail("--cpus A,B");
    } else {
      fail(argv[i]);
    }
  }
  if (wanted.rounds < 16) fail("--rounds below 16");
  // The ring of a transfer has room for eight.
  if (wanted.copy_bytes == 0 || wanted.copy_bytes > ring::max_ring_bytes / 8) fail("--copy 0, or above 128 MiB");
  return wanted;
}

} // namespace

int main(int argc, char** argv) {
  const options wanted = parse(argc, argv);
  const auto is_wanted = [&](const char* name) { return wanted.only.find(name) != std::string::npos; };
  std::vector<std::string> fields;
  const auto add = [&](const char* name, percentiles of_trip) {
    char text[128];
    std::snprintf(text, sizeof text, "\"%s\":{\"p50\":%.1f,\"p99\":%.1f}", name, of_trip.p50, of_trip.p99);
    fields.emplace_back(text);
  };
  if (is_wanted("ring")) add("ringRoundTripNs", ring_round_trip(wanted));
  if (is_wanted("eventfd")) add("eventfdRoundTripNs", eventfd_round_trip(wanted, std::min(wanted.rounds, 20'000u), 0));
  if (is_wanted("cold")) add("eventfdColdNs", eventfd_round_trip(wanted, 50, 10));
  if (is_wanted("memcpy")) {
    fields.push_back("\"memcpyGBs\":" + std::to_string(memcpy_gb_per_s(wanted.copy_bytes)));
  }
  if (is_wanted("transfer")) fields.push_back("\"transferGBs\":" + std::to_string(transfer_gb_per_s(wanted)));
  std::string line;
  for (const auto& field : fields) line += (line.empty() ? "" : ",") + field;
  std::printf("{%s}\n", line.c_str());
}

#else

#include <cstdio>

int main() {
  std::fprintf(stderr, "floor: measured on Linux only\n");
  return 1;
}

#endif
