// The layout of a segment: the memory that one client shares with the server. This is the only C++ file that knows an
// offset; the TypeScript twin is checked against the values that the addon exports from here.
//
//   object (what the descriptor holds)       mapping (what a process sees: one contiguous range)
//   +--------------------------+ 0           +--------------------------+ 0
//   | control page             |             | control page             |
//   +--------------------------+ page        +--------------------------+ page
//   | request control ring     |             | request control ring     |
//   +--------------------------+             | request control, mirror  |
//   | response control ring    |             +--------------------------+
//   +--------------------------+             | response control ring    |
//   | request ring             |             | response control, mirror |
//   +--------------------------+             +--------------------------+
//   | response ring            |             | request ring             |
//   +--------------------------+             | request ring, mirror     |
//                                            +--------------------------+
//                                            | response ring            |
//                                            | response ring, mirror    |
//                                            +--------------------------+
//
// Every ring is mapped twice, back to back, so a record never wraps: one that starts near the end of the ring simply
// continues in the mirror.
//
//   control page
//   0                 header line (128 bytes), written once before the memory is handed out
//   control_offset    control block, six lines of 128 bytes:
//     + 0             request producer line    data head, control head    written by the client
//     + 128           request consumer line    data tail, control tail    written by the server
//     + 256           response producer line   data head, control head    written by the server
//     + 384           response consumer line   data tail, control tail    written by the client
//     + 512           server line              waiting flags, CPU         set by the server, flags cleared by the client
//     + 640           client line              waiting flags, CPU         set by the client, flags cleared by the server
//
// The control block starts at a different line in each client's page: with all of them at one page offset, the heads
// that a server scans share one set of the first-level cache, and the scan of 512 clients takes three times as long.
//
//   record in a data ring                    record in a control ring
//   +----------------------+ 8-byte aligned  +----------------------+ 8-byte aligned
//   | u32 length and flags |                 | u32 length and flags |
//   | u32 kind and wire id |                 | u32 kind and wire id |
//   +----------------------+                 +----------------------+
//   | payload              |                 | u32 data position    |
//   | padding to 8 bytes   |                 | u32 zero             |
//   +----------------------+                 | payload, at most 64  |
//                                            | padding to 8 bytes   |
//                                            +----------------------+
//
// The length counts what follows the two words without the padding (in a control ring: the position included).
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

namespace spanwire::ring {

using u8 = std::uint8_t;
using u32 = std::uint32_t;
using u64 = std::uint64_t;

// ---- fixed constants: never taken from the compiler, since two builds share the memory ----

inline constexpr u32 segment_magic = 0x52575053; // "SPWR", little-endian
inline constexpr u32 segment_version = 1;

// Two 64-byte cache lines: processors fetch lines in pairs, so words written by different sides keep this distance.
inline constexpr u32 line_bytes = 128;

inline constexpr u32 record_alignment = 8;
inline constexpr u32 record_header_bytes = 8;
inline constexpr u32 record_length_mask = 0x3fff'ffff; // bits 30 and 31 of the first word belong to the protocol

inline constexpr u32 min_ring_bytes = 8u << 10;
inline constexpr u32 max_ring_bytes = 1u << 30;
inline constexpr u32 min_control_ring_bytes = 4u << 10;
inline constexpr u32 control_prefix_bytes = 8; // data position and zero
inline constexpr u32 max_control_payload_bytes = 64;

inline constexpr u32 min_page_bytes = 4u << 10;
inline constexpr u32 max_page_bytes = 64u << 10;

// ---- the control page ----

struct header_line {
  u32 magic;
  u32 version;
  u32 page_bytes;
  u32 control_offset;
  u32 request_ring_bytes;
  u32 response_ring_bytes;
  u32 control_ring_bytes;
  u32 reserved[25];
};

// The heads of both lanes share a line: one load tells a reader about data and control.
struct producer_line {
  alignas(8) u32 data_head;
  u32 control_head;
  u32 reserved[30];
};

struct consumer_line {
  u32 data_tail;
  u32 control_tail;
  u32 reserved[30];
};

// Written rarely (going to sleep, moving to another CPU), read by the peer after every publish and release.
struct side_line {
  u32 waiting_data;  // 1: asleep, ring the doorbell after publishing
  u32 waiting_space; // 1: asleep for want of room, ring the doorbell after releasing
  u32 cpu;           // where this side ran last, plus one; 0: it does not say. A hint
  u32 reserved[29];
};

struct control_block {
  producer_line request_producer;
  consumer_line request_consumer;
  producer_line response_producer;
  consumer_line response_consumer;
  side_line server;
  side_line client;
};

static_assert(sizeof(header_line) == line_bytes);
static_assert(offsetof(header_line, magic) == 0);
static_assert(offsetof(header_line, version) == 4);
static_assert(offsetof(header_line, page_bytes) == 8);
static_assert(offsetof(header_line, control_offset) == 12);
static_assert(offsetof(header_line, request_ring_bytes) == 16);
static_assert(offsetof(header_line, response_ring_bytes) == 20);
static_assert(offsetof(header_line, control_ring_bytes) == 24);
static_assert(offsetof(header_line, reserved) == 28);

static_assert(sizeof(producer_line) == line_bytes);
static_assert(offsetof(producer_line, data_head) == 0);
static_assert(offsetof(producer_line, control_head) == 4);

static_assert(sizeof(consumer_line) == line_bytes);
static_assert(offsetof(consumer_line, data_tail) == 0);
static_assert(offsetof(consumer_line, control_tail) == 4);

static_assert(sizeof(side_line) == line_bytes);
static_assert(offsetof(side_line, waiting_data) == 0);
static_assert(offsetof(side_line, waiting_space) == 4);
static_assert(offsetof(side_line, cpu) == 8);

static_assert(sizeof(control_block) == 6 * line_bytes);
static_assert(offsetof(control_block, request_producer) == 0);
static_assert(offsetof(control_block, request_consumer) == 128);
static_assert(offsetof(control_block, response_producer) == 256);
static_assert(offsetof(control_block, response_consumer) == 384);
static_assert(offsetof(control_block, server) == 512);
static_assert(offsetof(control_block, client) == 640);

static_assert(sizeof(header_line) + sizeof(control_block) <= min_page_bytes);

// How many different lines of the page a control block can start at.
inline constexpr u32 stagger_count =
    static_cast<u32>((min_page_bytes - sizeof(header_line) - sizeof(control_block)) / line_bytes + 1);
static_assert(stagger_count == 26);

[[nodiscard]] constexpr u32 staggered_control_offset(u32 client_index) noexcept {
  return line_bytes + (client_index % stagger_count) * line_bytes;
}

// ---- records ----

[[nodiscard]] constexpr u32 align_record(u32 bytes) noexcept {
  return (bytes + (record_alignment - 1)) & ~(record_alignment - 1);
}

// What a payload of that many bytes takes in its ring. The payload must be at most `max_ring_bytes`.
[[nodiscard]] constexpr u32 record_bytes(u32 payload_bytes) noexcept {
  return record_header_bytes + align_record(payload_bytes);
}

static_assert(record_bytes(0) == 8 && record_bytes(1) == 16 && record_bytes(8) == 16 && record_bytes(9) == 24);

// ---- areas ----

[[nodiscard]] constexpr bool is_power_of_two(u32 value) noexcept {
  return value != 0 && (value & (value - 1)) == 0;
}

struct area {
  u64 object_offset;  // in the shared object
  u64 mapping_offset; // in the mapped range
  u32 bytes;          // once; a ring takes twice that in the mapping
};

// Where everything is. Each side computes it from four numbers, and keeps its own copy: nothing is looked up in memory
// that the peer can change.
struct geometry {
  u32 page_bytes;
  u32 control_offset;
  area request_control;
  area response_control;
  area request;
  area response;
  u64 object_bytes;
  u64 mapping_bytes;

  [[nodiscard]] static constexpr std::optional<geometry> of(u32 page_bytes, u32 control_offset, u32 request_ring_bytes,
                                                            u32 response_ring_bytes, u32 control_ring_bytes) noexcept {
    if (!is_power_of_two(page_bytes) || page_bytes < min_page_bytes || page_bytes > max_page_bytes) return {};
    if (control_offset % line_bytes != 0 || control_offset < sizeof(header_line) ||
        control_offset > page_bytes - sizeof(control_block)) {
      return {};
    }
    for (const u32 data_ring : {request_ring_bytes, response_ring_bytes}) {
      if (!is_power_of_two(data_ring) || data_ring < min_ring_bytes || data_ring > max_ring_bytes) return {};
      if (data_ring < page_bytes) return {};
    }
    if (!is_power_of_two(control_ring_bytes) || control_ring_bytes < min_control_ring_bytes ||
        control_ring_bytes < page_bytes || control_ring_bytes > max_page_bytes) {
      return {};
    }
    geometry result{page_bytes, control_offset, {}, {}, {}, {}, page_bytes, page_bytes};
    result.request_control = result.append(control_ring_bytes);
    result.response_control = result.append(control_ring_bytes);
    result.request = result.append(request_ring_bytes);
    result.response = result.append(response_ring_bytes);
    return result;
  }

 private:
  constexpr area append(u32 bytes) noexcept {
    const area added{object_bytes, mapping_bytes, bytes};
    object_bytes += bytes;
    mapping_bytes += u64{2} * bytes;
    return added;
  }
};

// The smallest segment, spelled out: a change of the layout must be a decision.
struct geometry_check {
  static constexpr geometry smallest = *geometry::of(4096, 128, 8192, 8192, 4096);
  static_assert(smallest.request_control.object_offset == 4096 && smallest.request_control.mapping_offset == 4096);
  static_assert(smallest.response_control.object_offset == 8192 && smallest.response_control.mapping_offset == 12288);
  static_assert(smallest.request.object_offset == 12288 && smallest.request.mapping_offset == 20480);
  static_assert(smallest.response.object_offset == 20480 && smallest.response.mapping_offset == 36864);
  static_assert(smallest.object_bytes == 28672 && smallest.mapping_bytes == 53248);
};

} // namespace spanwire::ring
