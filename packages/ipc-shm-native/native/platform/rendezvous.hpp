// Meeting at a Unix socket: who may own an address, and the messages of the handshake with the memory's descriptor.
#pragma once

#include <cstddef>
#include <span>
#include <string>

#include "descriptor.hpp"
#include "result.hpp"

namespace spanwire::platform {

// The longest path that a socket address holds. A longer one would be cut silently by some runtimes.
inline constexpr std::size_t max_socket_path_bytes = 107;

// At most one process at a time claims, replaces or removes an address. The lock is a listening socket in the abstract
// namespace: it leaves no file, and ends with its process.
class address_lock {
 public:
  // Empty when someone else still holds it after `wait_ms`; 0 does not wait. To wait without blocking, connect to
  // `name_for(path)`: that connection ends when the holder is done.
  [[nodiscard]] static result<std::optional<address_lock>> acquire(const std::string& path, int wait_ms) noexcept;

  // The name of the lock of that address, with its leading zero byte: acceptable to `connect_to`.
  [[nodiscard]] static result<std::string> name_for(const std::string& path) noexcept;

 private:
  explicit address_lock(unique_descriptor socket) noexcept : socket_{std::move(socket)} {}

  unique_descriptor socket_;
};

enum class publish_mode : unsigned char {
  claim,   // take the address if it is free or stale; EADDRINUSE when a server answers there
  replace, // take it from the server that has it
};

// A listening socket. It is bound inside a private directory, where nobody can connect before its mode is set, and
// appears under its final name by `publish`. From the one to the other it holds the lock of its address.
class listener {
 public:
  // EBUSY: someone else holds the lock of the address just now. Does not wait.
  [[nodiscard]] static result<listener> bind(const std::string& path, unsigned mode) noexcept;

  [[nodiscard]] result<void> publish(publish_mode mode) noexcept;

  // The next connection that waits, non-blocking. Empty when there is none. When the process has no descriptors left,
  // the connection is accepted and closed, so that it does not stay ready for ever; that counts as `refused`.
  struct accepted {
    unique_descriptor socket;
    bool refused = false;
  };
  [[nodiscard]] result<accepted> accept() noexcept;

  // Removes the name, if it is still this socket's, then closes. A successor's name is left alone. Blocks for a
  // quarter of a second at most, when a newcomer is just claiming the address.
  void close() noexcept;

  [[nodiscard]] int descriptor() const noexcept { return socket_.get(); }

  listener() noexcept = default;
  listener(listener&&) noexcept = default;
  listener& operator=(listener&& other) noexcept {
    std::swap(lock_, other.lock_);
    std::swap(socket_, other.socket_);
    std::swap(spare_, other.spare_);
    std::swap(path_, other.path_);
    std::swap(private_directory_, other.private_directory_);
    std::swap(device_, other.device_);
    std::swap(inode_, other.inode_);
    return *this;
  }
  ~listener() { close(); }

 private:
  [[nodiscard]] result<void> claim_name() noexcept;
  void remove_private_name() noexcept;
  void remove_name() noexcept;

  std::optional<address_lock> lock_;
  unique_descriptor socket_;
  unique_descriptor spare_; // given up for a moment to refuse a connection when there are no descriptors left
  std::string path_;
  std::string private_directory_; // set while this holds the lock
  unsigned long long device_ = 0;
  unsigned long long inode_ = 0;
};

// Connects, close-on-exec and non-blocking. With `wait_ms` 0 it does not block, and EAGAIN says that the server's queue
// is full; otherwise it waits that long for a place in the queue.
[[nodiscard]] result<unique_descriptor> connect_to(const std::string& path, int wait_ms) noexcept;

struct peer_credentials {
  int pid;
  unsigned uid;
};
[[nodiscard]] result<peer_credentials> credentials_of(int socket) noexcept;

// Sends a handshake message, with a descriptor unless it is negative. Never blocks: a fresh connection has room for a
// handshake, and one that has not is an error.
[[nodiscard]] result<void> send_message(int socket, std::span<const std::byte> bytes, int descriptor) noexcept;

struct received {
  std::size_t bytes = 0;
  bool ended = false;
  bool again = false;           // nothing there now
  unique_descriptor descriptor; // only when one was expected
};

// Receives handshake bytes. Never blocks. A descriptor that is not expected is a protocol failure, and every descriptor
// that is not returned is closed.
[[nodiscard]] result<received> receive_message(int socket, std::span<std::byte> into, bool expect_descriptor) noexcept;

} // namespace spanwire::platform
