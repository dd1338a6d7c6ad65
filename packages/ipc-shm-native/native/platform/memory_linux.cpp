#if defined(__linux__)

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "memory.hpp"

namespace spanwire::platform {

using ring::area;
using ring::geometry;
using ring::u32;
using ring::u64;

namespace {

constexpr int required_seals = F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL;

// A signal makes fallocate start over, so a large object is reserved in steps that always finish.
constexpr u64 reserve_step_bytes = u64{64} << 20;

// Small segments are touched at once: the first lap through the rings then takes no page faults.
constexpr u64 populate_limit_bytes = u64{8} << 20;

result<unique_descriptor> create_object(u64 bytes, reserve_function reserve) noexcept {
#if defined(MFD_NOEXEC_SEAL)
  unique_descriptor object{memfd_create("spanwire", MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL)};
  if (!object && errno == EINVAL) object.reset(memfd_create("spanwire", MFD_CLOEXEC | MFD_ALLOW_SEALING));
#else
  unique_descriptor object{memfd_create("spanwire", MFD_CLOEXEC | MFD_ALLOW_SEALING)};
#endif
  if (!object) return failure{"memfd_create", errno};
  if (const int error = reserve(object.get(), bytes); error != 0) return failure{"fallocate", error};
  if (fcntl(object.get(), F_ADD_SEALS, required_seals) != 0) return failure{"fcntl(F_ADD_SEALS)", errno};
  return object;
}

bool map_at(std::byte* address, u64 bytes, int descriptor, u64 offset) noexcept {
  return mmap(address, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, descriptor,
              static_cast<off_t>(offset)) != MAP_FAILED;
}

} // namespace

u32 page_bytes() noexcept {
  return static_cast<u32>(sysconf(_SC_PAGESIZE));
}

int reserve_space(int descriptor, u64 bytes) noexcept {
  // Beyond this limit the kernel sends SIGXFSZ, which ends the process, before it reports an error.
  rlimit limit{};
  if (getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY && bytes > limit.rlim_cur) return EFBIG;
  for (u64 done = 0; done < bytes;) {
    const u64 step = std::min(reserve_step_bytes, bytes - done);
    if (fallocate(descriptor, 0, static_cast<off_t>(done), static_cast<off_t>(step)) == 0) {
      done += step;
    } else if (errno != EINTR) {
      return errno;
    }
  }
  return 0;
}

result<mapping> mapping::of(int descriptor, const geometry& where) noexcept {
  void* const range =
      mmap(nullptr, where.mapping_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (range == MAP_FAILED) return failure{"mmap", errno};
  mapping whole{static_cast<std::byte*>(range), where.mapping_bytes};
  bool mapped = map_at(whole.base_, where.page_bytes, descriptor, 0);
  for (const area& ring : {where.request_control, where.response_control, where.request, where.response}) {
    std::byte* const first = whole.base_ + ring.mapping_offset;
    mapped = mapped && map_at(first, ring.bytes, descriptor, ring.object_offset) &&
             map_at(first + ring.bytes, ring.bytes, descriptor, ring.object_offset);
  }
  if (!mapped) return failure{"mmap", errno};
#if defined(MADV_POPULATE_WRITE)
  // An optimisation: where the kernel does not know it, the pages are touched one by one later.
  if (where.object_bytes <= populate_limit_bytes) (void)madvise(whole.base_, whole.bytes_, MADV_POPULATE_WRITE);
#endif
  return whole;
}

void mapping::discard() noexcept {
  if (base_ == nullptr) return;
  (void)mmap(base_, bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
}

mapping::~mapping() {
  if (base_ != nullptr) munmap(base_, bytes_);
}

result<segment> create_segment(const segment_request& wanted) noexcept {
  if (std::min(wanted.request_ring_bytes, wanted.response_ring_bytes) < ring::min_ring_bytes) {
    return failure{"ring size", EINVAL};
  }
  const u32 page = page_bytes();
  const auto where = geometry::of(page, ring::staggered_control_offset(wanted.client_index),
                                  std::max(wanted.request_ring_bytes, page), std::max(wanted.response_ring_bytes, page),
                                  std::max(ring::min_control_ring_bytes, page));
  if (!where) return failure{"ring size", EINVAL};
  auto object = create_object(where->object_bytes, wanted.reserve);
  if (!object) return object.error();
  auto memory = mapping::of(object->get(), *where);
  if (!memory) return memory.error();
  ring::write_header(memory->base(), *where);
  return segment{*where, std::move(*memory), std::move(*object)};
}

result<segment> open_segment(unique_descriptor object) noexcept {
  const int seals = fcntl(object.get(), F_GET_SEALS);
  if (seals < 0) return failure{"fcntl(F_GET_SEALS)", errno};
  // Unsealed memory could shrink under this process, and every access would then be SIGBUS.
  if ((seals & required_seals) != required_seals) return failure{"memory is not sealed", 0, failure::kind::protocol};
  struct stat info {};
  if (fstat(object.get(), &info) != 0) return failure{"fstat", errno};
  ring::header_line header{};
  const ssize_t got = pread(object.get(), &header, sizeof header, 0);
  if (got < 0) return failure{"pread", errno};
  if (got != sizeof header) return failure{"memory is too small", 0, failure::kind::protocol};
  const auto where = ring::read_header(header);
  if (!where || where->page_bytes != page_bytes() || info.st_size < 0 ||
      static_cast<u64>(info.st_size) != where->object_bytes) {
    return failure{"memory header does not match", 0, failure::kind::protocol};
  }
  auto memory = mapping::of(object.get(), *where);
  if (!memory) return memory.error();
  return segment{*where, std::move(*memory), std::move(object)};
}

} // namespace spanwire::platform

#endif
