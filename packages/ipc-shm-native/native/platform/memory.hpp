// The memory of a segment: an anonymous object that travels as a descriptor, and its mapping.
#pragma once

#include <cstddef>

#include "../ring/endpoint.hpp"
#include "descriptor.hpp"
#include "result.hpp"

namespace spanwire::platform {

// The page size of this system.
[[nodiscard]] ring::u32 page_bytes() noexcept;

// Takes the space of an object from the system now, so that a full memory is an error here and not SIGBUS at a later
// write. Returns 0 or an errno.
[[nodiscard]] int reserve_space(int descriptor, ring::u64 bytes) noexcept;

// What reserves the space. Tests pass one that fails.
using reserve_function = int (*)(int descriptor, ring::u64 bytes) noexcept;

// A segment mapped into one contiguous range of addresses, mirrors included.
class mapping {
 public:
  mapping() noexcept = default;
  mapping(mapping&& other) noexcept
      : base_{std::exchange(other.base_, nullptr)}, bytes_{std::exchange(other.bytes_, 0)} {}
  mapping& operator=(mapping&& other) noexcept {
    std::swap(base_, other.base_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  ~mapping();

  [[nodiscard]] static result<mapping> of(int descriptor, const ring::geometry& where) noexcept;

  // Gives the shared memory back at once and leaves zeros in its place. The range of addresses stays taken until the
  // destructor, because views into it can still exist.
  void discard() noexcept;

  [[nodiscard]] std::byte* base() const noexcept { return base_; }
  [[nodiscard]] ring::u64 bytes() const noexcept { return bytes_; }

 private:
  mapping(std::byte* base, ring::u64 bytes) noexcept : base_{base}, bytes_{bytes} {}

  std::byte* base_ = nullptr;
  ring::u64 bytes_ = 0;
};

struct segment {
  ring::geometry where;
  mapping memory;
  unique_descriptor object; // to hand to the client; not needed any more once both sides have mapped it
};

struct segment_request {
  ring::u32 client_index; // spreads the control blocks of many clients over the lines of their pages
  ring::u32 request_ring_bytes;
  ring::u32 response_ring_bytes;
  reserve_function reserve = reserve_space;
};

// Makes a segment: reserved, sealed against resizing, mapped, header written. Ring sizes below the page size are raised
// to it. Server side.
[[nodiscard]] result<segment> create_segment(const segment_request& wanted) noexcept;

// Maps a segment that a server sent, after checking seals, size and header. Client side.
[[nodiscard]] result<segment> open_segment(unique_descriptor object) noexcept;

} // namespace spanwire::platform
