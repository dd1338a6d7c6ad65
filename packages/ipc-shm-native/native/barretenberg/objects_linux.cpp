#if defined(__linux__)

#include "objects.hpp"

#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

#include "../platform/memory.hpp"
#include "process.hpp"

namespace spanwire::barretenberg {

namespace {

// Where POSIX shared memory is on Linux, for every C library.
const std::string directory = "/dev/shm/";

// Small objects are touched at once: the first lap through a ring then takes no page faults.
constexpr u64 populate_limit_bytes = u64{8} << 20;

// Servers that start at the same moment get in each other's way: each may take another one, which only looks, for the owner of a stale
// name. Who looks is gone in microseconds, an owner stays.
constexpr int claim_attempts = 16;
constexpr long ns_between_attempts = 2'000'000;

bool valid(const std::string& name) noexcept {
  return !name.empty() && name.size() <= max_name_bytes && name.find('/') == std::string::npos &&
         name.find('\0') == std::string::npos;
}

result<identity> identity_of(int descriptor) noexcept {
  struct stat info {};
  if (fstat(descriptor, &info) != 0) return failure{"fstat", errno};
  return identity{info.st_dev, info.st_ino};
}

bool has_name(const std::string& path, const identity& which) noexcept {
  struct stat info {};
  return lstat(path.c_str(), &info) == 0 && identity{info.st_dev, info.st_ino} == which;
}

// Makes room for a new object: removes the name if nobody uses what it names.
result<void> free_name(const std::string& path) noexcept {
  const unique_descriptor file{open(path.c_str(), O_RDWR | O_NOFOLLOW | O_CLOEXEC)};
  if (!file) {
    if (errno == ENOENT) return {};
    return failure{"open", errno};
  }
  // Our own servers hold this lock from before the name appears.
  if (flock(file.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno == EWOULDBLOCK) return failure{"shared memory name", EADDRINUSE};
    return failure{"flock", errno};
  }
  auto which = identity_of(file.get());
  if (!which) return which.error();
  in_use used = used_by_others(file.get());
  if (used == in_use::unknown) {
    auto found = processes_with(*which);
    if (!found) return found.error();
    used = found->empty() ? in_use::no : in_use::yes;
  }
  if (used == in_use::yes) return failure{"shared memory name", EADDRINUSE};
  if (has_name(path, *which) && unlink(path.c_str()) != 0 && errno != ENOENT) return failure{"unlink", errno};
  return {};
}

// Gives an object without a name its name. It is complete by then, so nobody ever sees half of one.
result<void> give_name(const object& nameless, const std::string& path) noexcept {
  char self[48];
  std::snprintf(self, sizeof self, "/proc/self/fd/%d", nameless.descriptor());
  if (linkat(AT_FDCWD, self, AT_FDCWD, path.c_str(), AT_SYMLINK_FOLLOW) != 0) return failure{"linkat", errno};
  return {};
}

} // namespace

// A write lease is granted only while nobody else has the file open, which includes mappings. Whoever opens it in that
// instant waits until the lease is given back, and we are told by a signal that is ignored by default.
in_use used_by_others(int descriptor) noexcept {
  if (fcntl(descriptor, F_SETSIG, SIGURG) != 0) return in_use::unknown;
  if (fcntl(descriptor, F_SETLEASE, F_WRLCK) == 0) {
    (void)fcntl(descriptor, F_SETLEASE, F_UNLCK);
    return in_use::no;
  }
  return errno == EAGAIN || errno == EBUSY ? in_use::yes : in_use::unknown;
}

// ---- one object ----

object::~object() {
  if (base_ != nullptr) munmap(base_, bytes_);
}

result<object> object::create(u64 capacity) noexcept {
  if (!is_power_of_two(capacity) || capacity < min_capacity) return failure{"ring size", EINVAL};
  object made;
  made.file_.reset(::open(directory.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
  if (!made.file_) return failure{"open", errno};
  const u64 bytes = sizeof(ring_header) + capacity;
  if (const int error = platform::reserve_space(made.file_.get(), bytes); error != 0) {
    return failure{"fallocate", error};
  }
  if (auto mapped = made.map(bytes); !mapped) return mapped.error();
  write_header(*made.ring().header, capacity);
  if (flock(made.file_.get(), LOCK_EX | LOCK_NB) != 0) return failure{"flock", errno};
  return made;
}

result<object> object::open(const std::string& path) noexcept {
  object opened;
  opened.file_.reset(::open(path.c_str(), O_RDWR | O_NOFOLLOW | O_CLOEXEC));
  if (!opened.file_) return failure{"open", errno};
  struct stat info {};
  if (fstat(opened.file_.get(), &info) != 0) return failure{"fstat", errno};
  const u64 bytes = static_cast<u64>(info.st_size);
  // The original makes its objects step by step: the size first, then what is in them.
  if (bytes == 0) return failure{"shared memory header", EAGAIN};
  const u64 capacity = bytes - sizeof(ring_header);
  if (bytes <= sizeof(ring_header) || capacity > max_capacity || !is_power_of_two(capacity)) {
    return failure{"shared memory size", 0, failure::kind::protocol};
  }
  if (auto mapped = opened.map(bytes); !mapped) return mapped.error();
  ring_header& header = *opened.ring().header;
  const u64 stated = load(header.capacity);
  const u64 mask = load(header.mask);
  // No ring wraps at its very beginning.
  if (stated == 0 || mask == 0 || load(header.wrap_head) == 0) return failure{"shared memory header", EAGAIN};
  if (stated != capacity || mask != capacity - 1) {
    return failure{"shared memory header", 0, failure::kind::protocol};
  }
  return opened;
}

result<void> object::map(u64 bytes) noexcept {
  auto which = identity_of(file_.get());
  if (!which) return which.error();
  const int populate = bytes <= populate_limit_bytes ? MAP_POPULATE : 0;
  void* const base = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | populate, file_.get(), 0);
  if (base == MAP_FAILED) return failure{"mmap", errno};
  base_ = static_cast<std::byte*>(base);
  bytes_ = bytes;
  identity_ = *which;
  return {};
}

// ---- both ----

result<objects> objects::create(const std::string& name, u64 request_capacity, u64 response_capacity) noexcept {
  if (!valid(name)) return failure{"shared memory name", EINVAL};
  objects made;
  made.request_path_ = directory + name + "_request";
  made.response_path_ = directory + name + "_response";
  auto request = object::create(request_capacity);
  if (!request) return request.error();
  auto response = object::create(response_capacity);
  if (!response) return response.error();
  for (int attempt = 1;; ++attempt) {
    auto named = free_name(made.request_path_);
    if (named) named = free_name(made.response_path_);
    // The request last: that is what clients open first.
    if (named) named = give_name(*response, made.response_path_);
    if (named) break;
    const int error = named.error().code;
    if (error != EADDRINUSE && error != EEXIST) return named.error();
    if (attempt == claim_attempts) return failure{"shared memory name", EADDRINUSE};
    const timespec pause{0, ns_between_attempts};
    nanosleep(&pause, nullptr);
  }
  made.response = std::move(*response);
  if (auto named = give_name(*request, made.request_path_); !named) {
    made.remove_names();
    if (named.error().code == EEXIST) return failure{"shared memory name", EADDRINUSE};
    return named.error();
  }
  made.request = std::move(*request);
  return made;
}

result<objects> objects::open(const std::string& name) noexcept {
  if (!valid(name)) return failure{"shared memory name", EINVAL};
  objects opened;
  opened.request_path_ = directory + name + "_request";
  opened.response_path_ = directory + name + "_response";
  auto request = object::open(opened.request_path_);
  if (!request) return request.error();
  auto response = object::open(opened.response_path_);
  if (!response) {
    // The server makes it second.
    if (response.error().code == ENOENT) return failure{"shared memory header", EAGAIN};
    return response.error();
  }
  // Two clients would read each other's answers. The original does not know this lock; our clients do.
  struct flock lock {};
  lock.l_type = F_WRLCK;
  lock.l_whence = SEEK_SET;
  lock.l_len = 1;
  if (fcntl(response->descriptor(), F_OFD_SETLK, &lock) != 0) {
    if (errno == EAGAIN || errno == EACCES) return failure{"shared memory lock", EBUSY};
    return failure{"fcntl(F_OFD_SETLK)", errno};
  }
  opened.request = std::move(*request);
  opened.response = std::move(*response);
  return opened;
}

void objects::remove_names() noexcept {
  if (request.descriptor() >= 0 && has_name(request_path_, request.which())) unlink(request_path_.c_str());
  if (response.descriptor() >= 0 && has_name(response_path_, response.which())) unlink(response_path_.c_str());
}

bool objects::abandoned() const noexcept {
  return used_by_others(request.descriptor()) == in_use::no && used_by_others(response.descriptor()) == in_use::no;
}

} // namespace spanwire::barretenberg

#endif
