#if defined(__linux__)

#include "rendezvous.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <climits>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "cpu.hpp"

namespace spanwire::platform {

namespace {

struct address {
  sockaddr_un name{};
  socklen_t length = 0;

  // A path, or an abstract name when it starts with a zero byte.
  static result<address> of(const std::string& path) noexcept {
    if (path.empty()) return failure{"socket path", EINVAL};
    if (path.size() > max_socket_path_bytes) return failure{"socket path", ENAMETOOLONG};
    address made;
    made.name.sun_family = AF_UNIX;
    std::memcpy(made.name.sun_path, path.data(), path.size());
    const std::size_t terminator = path[0] == '\0' ? 0 : 1; // an abstract name is its length, without a terminator
    made.length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path.size() + terminator);
    return made;
  }

  [[nodiscard]] const sockaddr* get() const noexcept { return reinterpret_cast<const sockaddr*>(&name); }
};

unique_descriptor new_socket() noexcept {
  return unique_descriptor{socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)};
}

std::string directory_of(const std::string& path) {
  const auto slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

std::string base_of(const std::string& path) {
  const auto slash = path.rfind('/');
  return slash == std::string::npos ? path : path.substr(slash + 1);
}

std::uint64_t fnv1a(const std::string& text) noexcept {
  std::uint64_t hash = 0xcbf2'9ce4'8422'2325;
  for (const char c : text) {
    hash ^= static_cast<unsigned char>(c);
    hash *= 0x0000'0100'0000'01b3;
  }
  return hash;
}

bool is_missing(int error) noexcept {
  return error == ENOENT || error == ENOTDIR;
}

} // namespace

void close_descriptor(int descriptor) noexcept {
  (void)::close(descriptor);
}

// ---- the lock ----

result<std::string> address_lock::name_for(const std::string& path) noexcept {
  // Two spellings of one directory must give one lock.
  char resolved[PATH_MAX];
  if (realpath(directory_of(path).c_str(), resolved) == nullptr) return failure{"realpath", errno};
  char digits[17];
  std::snprintf(digits, sizeof digits, "%016llx",
                static_cast<unsigned long long>(fnv1a(std::string{resolved} + '/' + base_of(path))));
  std::string name(1, '\0');
  name += "spanwire-lock-";
  name += digits;
  return name;
}

result<std::optional<address_lock>> address_lock::acquire(const std::string& path, int wait_ms) noexcept {
  auto name = name_for(path);
  if (!name) return name.error();
  auto where = address::of(*name);
  if (!where) return where.error();
  const std::int64_t deadline_ns = wait_ms == 0 ? 0 : now_ns() + std::int64_t{wait_ms} * 1'000'000;
  for (;;) {
    unique_descriptor socket = new_socket();
    if (!socket) return failure{"socket", errno};
    if (::bind(socket.get(), where->get(), where->length) == 0) {
      // Those who wait for the lock connect, and are disconnected when this socket closes.
      if (listen(socket.get(), SOMAXCONN) != 0) return failure{"listen", errno};
      return std::optional{address_lock{std::move(socket)}};
    }
    if (errno != EADDRINUSE) return failure{"bind", errno};
    const std::int64_t left_ns = wait_ms == 0 ? 0 : deadline_ns - now_ns();
    if (left_ns <= 0) return std::optional<address_lock>{};
    if (auto waiter = connect_to(*name, 0)) {
      pollfd waiting{waiter->get(), POLLIN, 0};
      (void)poll(&waiting, 1, static_cast<int>(left_ns / 1'000'000) + 1);
    }
  }
}

// ---- the listening socket ----

result<listener> listener::bind(const std::string& path, unsigned mode) noexcept {
  if (auto final_name = address::of(path); !final_name) return final_name.error();
  auto lock = address_lock::acquire(path, 0);
  if (!lock) return lock.error();
  if (!lock->has_value()) return failure{"address lock", EBUSY};
  listener made;
  made.lock_ = std::move(*lock);
  made.path_ = path;
  const std::string directory = directory_of(path) + "/." + base_of(path) + '~';
  const std::string private_name = directory + "/s";
  auto where = address::of(private_name);
  if (!where) return where.error();

  // The name is fixed, so what a killed process left here is found and removed by the next one.
  if (mkdir(directory.c_str(), 0700) != 0 && errno != EEXIST) return failure{"mkdir", errno};
  struct stat info {};
  if (lstat(directory.c_str(), &info) != 0) return failure{"lstat", errno};
  if (!S_ISDIR(info.st_mode) || info.st_uid != geteuid() || (info.st_mode & 0077) != 0) {
    return failure{"private directory", EPERM};
  }
  made.private_directory_ = directory;
  if (unlink(private_name.c_str()) != 0 && errno != ENOENT) return failure{"unlink", errno};

  made.socket_ = new_socket();
  if (!made.socket_) return failure{"socket", errno};
  if (::bind(made.socket_.get(), where->get(), where->length) != 0) return failure{"bind", errno};
  if (chmod(private_name.c_str(), mode) != 0) return failure{"chmod", errno};
  if (lstat(private_name.c_str(), &info) != 0) return failure{"lstat", errno};
  made.device_ = info.st_dev;
  made.inode_ = info.st_ino;
  if (listen(made.socket_.get(), SOMAXCONN) != 0) return failure{"listen", errno};
  made.spare_.reset(open("/dev/null", O_RDONLY | O_CLOEXEC));
  return made;
}

result<void> listener::publish(publish_mode mode) noexcept {
  if (mode == publish_mode::replace) {
    const std::string private_name = private_directory_ + "/s";
    if (rename(private_name.c_str(), path_.c_str()) != 0) return failure{"rename", errno};
  } else if (auto claimed = claim_name(); !claimed) {
    return claimed;
  }
  remove_private_name();
  lock_.reset();
  return {};
}

result<void> listener::claim_name() noexcept {
  const std::string private_name = private_directory_ + "/s";
  for (;;) {
    // Unlike rename, link fails when the name exists: it never replaces a winner's socket.
    if (link(private_name.c_str(), path_.c_str()) == 0) return {};
    if (errno != EEXIST) return failure{"link", errno};
    struct stat found {};
    if (lstat(path_.c_str(), &found) != 0) {
      if (is_missing(errno)) continue; // its owner removed it meanwhile
      return failure{"lstat", errno};
    }
    if (!S_ISSOCK(found.st_mode)) return failure{"link", EEXIST};
    if (auto answer = connect_to(path_, 0); answer || answer.error().code == EAGAIN) {
      return failure{"bind", EADDRINUSE};
    } else if (answer.error().code != ECONNREFUSED) {
      if (is_missing(answer.error().code)) continue;
      return answer.error();
    }
    // Nobody answers: stale. The lock keeps other newcomers away, so the name is still the one that was asked.
    struct stat again {};
    if (lstat(path_.c_str(), &again) == 0 && again.st_dev == found.st_dev && again.st_ino == found.st_ino &&
        unlink(path_.c_str()) != 0 && errno != ENOENT) {
      return failure{"unlink", errno};
    }
  }
}

void listener::remove_private_name() noexcept {
  if (private_directory_.empty()) return;
  (void)unlink((private_directory_ + "/s").c_str());
  (void)rmdir(private_directory_.c_str());
  private_directory_.clear();
}

result<listener::accepted> listener::accept() noexcept {
  for (;;) {
    unique_descriptor socket{accept4(socket_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK)};
    if (socket) return accepted{std::move(socket)};
    if (errno == EAGAIN) return accepted{};
    if (errno == EINTR || errno == ECONNABORTED) continue;
    if ((errno != EMFILE && errno != ENFILE) || !spare_) return failure{"accept4", errno};
    spare_.reset();
    unique_descriptor refused{accept4(socket_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK)};
    const bool was_there = static_cast<bool>(refused);
    refused.reset();
    spare_.reset(open("/dev/null", O_RDONLY | O_CLOEXEC));
    return accepted{{}, was_there};
  }
}

void listener::close() noexcept {
  if (lock_) {
    remove_private_name(); // never published
  } else if (socket_) {
    remove_name();
  }
  socket_.reset();
  spare_.reset();
  lock_.reset();
}

// Under the lock, so that a name that a newcomer just put there is not taken for this one. A newcomer that holds the
// lock for long takes this address over, and sees to the name.
void listener::remove_name() noexcept {
  constexpr int patience_ms = 250;
  auto lock = address_lock::acquire(path_, patience_ms);
  if (!lock || !lock->has_value()) return;
  struct stat info {};
  if (lstat(path_.c_str(), &info) == 0 && info.st_dev == device_ && info.st_ino == inode_) {
    (void)unlink(path_.c_str());
  }
  socket_.reset(); // before the lock: who gets it next finds neither the name nor an answer
}

// ---- connections ----

result<unique_descriptor> connect_to(const std::string& path, int wait_ms) noexcept {
  auto where = address::of(path);
  if (!where) return where.error();
  unique_descriptor socket = new_socket();
  if (!socket) return failure{"socket", errno};
  if (wait_ms != 0) {
    // Only connect itself waits, and only for a place in the queue.
    const timeval limit{wait_ms / 1000, static_cast<suseconds_t>(wait_ms % 1000) * 1000};
    if (setsockopt(socket.get(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit) != 0 ||
        fcntl(socket.get(), F_SETFL, 0) != 0) {
      return failure{"setsockopt", errno};
    }
  }
  while (connect(socket.get(), where->get(), where->length) != 0) {
    if (errno != EINTR) return failure{"connect", errno};
  }
  if (wait_ms != 0 && fcntl(socket.get(), F_SETFL, O_NONBLOCK) != 0) return failure{"fcntl", errno};
  return socket;
}

result<peer_credentials> credentials_of(int socket) noexcept {
  ucred found{};
  socklen_t length = sizeof found;
  if (getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &found, &length) != 0) return failure{"getsockopt", errno};
  return peer_credentials{found.pid, found.uid};
}

result<void> send_message(int socket, std::span<const std::byte> bytes, int descriptor) noexcept {
  iovec part{const_cast<std::byte*>(bytes.data()), bytes.size()};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  if (descriptor >= 0) {
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    cmsghdr* const header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int));
    std::memcpy(CMSG_DATA(header), &descriptor, sizeof(int));
  }
  for (;;) {
    const ssize_t sent = sendmsg(socket, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent == static_cast<ssize_t>(bytes.size())) return {};
    if (sent >= 0) return failure{"sendmsg", ENOBUFS};
    if (errno != EINTR) return failure{"sendmsg", errno};
  }
}

result<received> receive_message(int socket, std::span<std::byte> into, bool expect_descriptor) noexcept {
  iovec part{into.data(), into.size()};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  if (expect_descriptor) {
    message.msg_control = control.data();
    message.msg_controllen = control.size();
  }
  ssize_t got = 0;
  do {
    got = recvmsg(socket, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  } while (got < 0 && errno == EINTR);
  received result;
  if (got < 0) {
    if (errno == EAGAIN) {
      result.again = true;
      return result;
    }
    if (errno != ECONNRESET) return failure{"recvmsg", errno};
    result.ended = true;
    return result;
  }
  // The space for one descriptor is padded and can hold two: take the first, close every other.
  bool too_many = (message.msg_flags & MSG_CTRUNC) != 0;
  for (cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr; header = CMSG_NXTHDR(&message, header)) {
    if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
    const std::size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (std::size_t i = 0; i < count; ++i) {
      int descriptor = -1;
      std::memcpy(&descriptor, CMSG_DATA(header) + i * sizeof(int), sizeof(int));
      unique_descriptor owned{descriptor};
      if (result.descriptor) {
        too_many = true;
      } else {
        result.descriptor = std::move(owned);
      }
    }
  }
  if (too_many) return failure{"unexpected descriptor", 0, failure::kind::protocol};
  result.bytes = static_cast<std::size_t>(got);
  result.ended = got == 0;
  return result;
}

} // namespace spanwire::platform

#endif
