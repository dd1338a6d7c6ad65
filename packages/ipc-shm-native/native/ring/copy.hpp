// Copying payloads into memory that the peer reads.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <span>

namespace spanwire::ring {

// The lines that are overwritten are in the peer's cache. glibc copies with `rep movsb`, which does not fetch them first, but not from
// the size of the second-level cache on (1 MiB here): then it fetches them, and takes four times as long. So large copies are made in
// pieces. `MappedChannel` does the same in JavaScript.
inline constexpr std::size_t copy_piece_bytes = std::size_t{256} << 10;

inline void copy_to_peer(std::byte* into, std::span<const std::byte> payload) noexcept {
  for (std::size_t at = 0; at < payload.size(); at += copy_piece_bytes) {
    std::memcpy(into + at, payload.data() + at, std::min(copy_piece_bytes, payload.size() - at));
  }
}

} // namespace spanwire::ring
