// What several test files share: a segment, patterned payloads, and child processes.
#pragma once

#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>

#include "../native/platform/memory.hpp"
#include "check.hpp"

namespace support {

using spanwire::platform::segment;
using spanwire::ring::consumer;
using spanwire::ring::endpoint;
using spanwire::ring::producer;
using spanwire::ring::role;
using spanwire::ring::u32;
using spanwire::ring::u64;

inline segment new_segment(u32 request_bytes = 8192, u32 response_bytes = 8192, u32 index = 0) {
  auto made = spanwire::platform::create_segment({index, request_bytes, response_bytes});
  CHECK(made);
  return std::move(*made);
}

inline endpoint view(const segment& memory, role side) {
  return endpoint::of(memory.memory.base(), memory.where, side);
}

// Message `number` of a sequence: every byte depends on the number and on its place.
inline void fill(std::byte* payload, u32 length, u32 number) {
  u32 state = number * 0x9e37'79b9u + 1;
  u32 i = 0;
  for (; i + 4 <= length; i += 4) {
    state = state * 1664525u + 1013904223u;
    std::memcpy(payload + i, &state, 4);
  }
  for (; i < length; ++i) payload[i] = static_cast<std::byte>(number + i);
}

inline bool matches(const std::byte* payload, u32 length, u32 number) {
  u32 state = number * 0x9e37'79b9u + 1;
  u32 i = 0;
  for (; i + 4 <= length; i += 4) {
    state = state * 1664525u + 1013904223u;
    if (std::memcmp(payload + i, &state, 4) != 0) return false;
  }
  for (; i < length; ++i) {
    if (payload[i] != static_cast<std::byte>(number + i)) return false;
  }
  return true;
}

inline bool send(producer& out, u32 length, u32 number) {
  std::byte* const payload = out.try_claim(length);
  if (payload == nullptr) return false;
  fill(payload, length, number);
  out.publish(length, number);
  return true;
}

// Runs `body` in a child process; what it returns is the exit code.
template <typename Body>
pid_t in_child(Body body) {
  std::fflush(nullptr);
  const pid_t child = fork();
  CHECK(child >= 0);
  if (child != 0) return child;
  int code = 99;
  try {
    code = body();
  } catch (const check::failed&) {
    code = 98;
  }
  std::fflush(nullptr);
  _exit(code);
}

inline u32 open_descriptors() {
  u32 count = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator{"/proc/self/fd"}) ++count;
  return count;
}

inline int exit_code(pid_t child) {
  int status = 0;
  while (waitpid(child, &status, 0) < 0) CHECK_EQ(errno, EINTR);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

} // namespace support
