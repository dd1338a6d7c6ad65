// The client's side of a connection to a real server: the handshake, then the bare rings.
#pragma once

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "../../native/platform/memory.hpp"
#include "../../native/platform/rendezvous.hpp"

namespace peers {

using spanwire::platform::unique_descriptor;
using spanwire::ring::u32;
using spanwire::ring::u64;

using bytes = std::vector<std::byte>;

// Depends on its seed alone (xorshift).
class dice {
 public:
  explicit dice(u64 seed) noexcept : state_{seed * 0x9e37'79b9'7f4a'7c15 + 1} {}

  u64 next() noexcept {
    state_ ^= state_ << 13;
    state_ ^= state_ >> 7;
    state_ ^= state_ << 17;
    return state_;
  }
  // From 0 to below `limit`.
  u32 below(u32 limit) noexcept { return static_cast<u32>((next() >> 11) % limit); }
  bool one_in(u32 count) noexcept { return below(count) == 0; }
  template <typename T, std::size_t count>
  const T& pick(const T (&from)[count]) noexcept {
    return from[below(count)];
  }

 private:
  u64 state_;
};

[[noreturn]] inline void give_up(const char* what) {
  std::fprintf(stderr, "%s: %s\n", what, std::strerror(errno));
  std::exit(1);
}

inline bytes from_hex(const std::string& text) {
  bytes result;
  for (std::size_t i = 0; i + 1 < text.size(); i += 2) {
    result.push_back(static_cast<std::byte>(std::stoul(text.substr(i, 2), nullptr, 16)));
  }
  return result;
}

inline unique_descriptor connect_to(const std::string& path) {
  auto socket = spanwire::platform::connect_to(path, 30'000);
  if (!socket) {
    errno = socket.error().code;
    give_up("connect");
  }
  return std::move(*socket);
}

inline void send_bytes(int socket, std::span<const std::byte> what) {
  (void)send(socket, what.data(), what.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
}

// Whether the server ended the connection. Leaves unread what it rang.
inline bool ended(int socket) {
  char byte = 0;
  const ssize_t got = recv(socket, &byte, 1, MSG_DONTWAIT | MSG_PEEK);
  return got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR);
}

// Waits until the server ended the connection; what it rings meanwhile is taken.
inline void await_end(int socket) {
  for (;;) {
    pollfd waiting{socket, POLLIN, 0};
    (void)poll(&waiting, 1, -1);
    char taken[256];
    const ssize_t got = recv(socket, taken, sizeof taken, MSG_DONTWAIT);
    if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR)) return;
  }
}

struct connection {
  unique_descriptor socket;
  unique_descriptor object; // the shared memory: what a well-behaved client closes
  spanwire::platform::segment memory;
  spanwire::ring::endpoint ring;
};

// Waits for the server's hello and maps the memory that came with it. Empty: it refused, or closed.
inline std::optional<connection> await_memory(unique_descriptor socket) {
  std::array<std::byte, 4096> hello;
  std::size_t filled = 0;
  unique_descriptor object;
  constexpr std::size_t header_bytes = 16;
  for (u32 length = header_bytes; filled < length;) {
    pollfd waiting{socket.get(), POLLIN, 0};
    (void)poll(&waiting, 1, -1);
    auto got = spanwire::platform::receive_message(socket.get(), std::span{hello}.subspan(filled), !object);
    if (!got) {
      errno = got.error().code;
      give_up("recvmsg");
    }
    if (got->again) continue;
    if (got->ended) return {};
    if (got->descriptor) object = std::move(got->descriptor);
    filled += got->bytes;
    if (filled >= header_bytes) {
      u32 fields = 0;
      std::memcpy(&fields, hello.data() + 12, sizeof fields);
      length = static_cast<u32>(header_bytes) + fields;
    }
  }
  if (!object) return {};
  auto mapped = spanwire::platform::open_segment(unique_descriptor{fcntl(object.get(), F_DUPFD_CLOEXEC, 0)});
  if (!mapped) {
    errno = mapped.error().code;
    give_up(mapped.error().operation);
  }
  connection made{std::move(socket), std::move(object), std::move(*mapped), {}};
  made.ring = spanwire::ring::endpoint::of(made.memory.memory.base(), made.memory.where, spanwire::ring::role::client);
  return made;
}

constexpr std::byte ready_byte{1};

inline std::optional<connection> greet(const std::string& path, const bytes& hello) {
  auto socket = connect_to(path);
  send_bytes(socket.get(), hello);
  auto made = await_memory(std::move(socket));
  if (made) send_bytes(made->socket.get(), {&ready_byte, 1});
  return made;
}

// Header words as the protocol has them.
enum kind : u32 { request = 0, stream_request = 1, duplex_request = 2, one_way = 3, item = 5, end = 6, error = 7,
                  cancel = 8, goaway = 9, credit = 10 };
inline constexpr u32 flag_extension = 1u << 30;
inline constexpr u32 flag_more = 1u << 31;

constexpr u32 kind_and_id(u32 which, u32 id) noexcept {
  return which << 28 | (id & 0x0fff'ffff);
}

} // namespace peers
