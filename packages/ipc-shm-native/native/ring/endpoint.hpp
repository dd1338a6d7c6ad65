// One side's view of a segment: which ring it writes, which it reads, and whose flags are whose.
#pragma once

#include "ring.hpp"

namespace spanwire::ring {

enum class role : u8 { server, client };

// The control block of a mapped segment.
[[nodiscard]] inline control_block& control_block_of(std::byte* mapping, const geometry& where) noexcept {
  return *reinterpret_cast<control_block*>(mapping + where.control_offset);
}

// Fills the control page of a new segment. Fresh anonymous memory is zero, which is the right start of all the rest.
inline void write_header(std::byte* mapping, const geometry& where) noexcept {
  auto& header = *reinterpret_cast<header_line*>(mapping);
  header.version = segment_version;
  header.page_bytes = where.page_bytes;
  header.control_offset = where.control_offset;
  header.request_ring_bytes = where.request.bytes;
  header.response_ring_bytes = where.response.bytes;
  header.control_ring_bytes = where.request_control.bytes;
  header.magic = segment_magic;
}

// What a client learns from the header of the memory that it received. Each word is loaded once.
[[nodiscard]] inline std::optional<geometry> read_header(header_line& header) noexcept {
  if (load_relaxed(header.magic) != segment_magic || load_relaxed(header.version) != segment_version) return {};
  return geometry::of(load_relaxed(header.page_bytes), load_relaxed(header.control_offset),
                      load_relaxed(header.request_ring_bytes), load_relaxed(header.response_ring_bytes),
                      load_relaxed(header.control_ring_bytes));
}

struct endpoint {
  ring_memory data_in;
  ring_memory data_out;
  ring_memory control_in;
  ring_memory control_out;
  producer_line* heads_in; // both heads that this side reads
  side_line* own;          // the flags that this side sets
  side_line* peer;         // the flags that this side asks before it rings

  [[nodiscard]] static endpoint of(std::byte* mapping, const geometry& where, role side) noexcept {
    control_block& block = control_block_of(mapping, where);
    const auto data = [&](const area& where_data, producer_line& heads, consumer_line& tails) {
      return ring_memory{mapping + where_data.mapping_offset, where_data.bytes, &heads.data_head, &tails.data_tail};
    };
    const auto control = [&](const area& where_data, producer_line& heads, consumer_line& tails) {
      return ring_memory{mapping + where_data.mapping_offset, where_data.bytes, &heads.control_head,
                         &tails.control_tail};
    };
    const ring_memory request = data(where.request, block.request_producer, block.request_consumer);
    const ring_memory response = data(where.response, block.response_producer, block.response_consumer);
    const ring_memory request_control = control(where.request_control, block.request_producer, block.request_consumer);
    const ring_memory response_control =
        control(where.response_control, block.response_producer, block.response_consumer);
    if (side == role::server) {
      return {request,      response,      request_control, response_control, &block.request_producer,
              &block.server, &block.client};
    }
    return {response,      request,       response_control, request_control, &block.response_producer,
            &block.client, &block.server};
  }
};

} // namespace spanwire::ring
