// One connection of a hub: in its handshake, live on its rings, or over and waiting to be removed.
#pragma once

#include <memory>

#include "../platform/memory.hpp"
#include "entry.hpp"

namespace spanwire::pump {

using ring::u32;
using ring::u64;

enum class channel_state : unsigned char {
  handshaking, // bytes on the socket are handshake messages
  live,        // the rings are in use, and the socket is the doorbell
  over,        // reported as closed or violated; nothing is read any more
};

// In which list of the hub a live channel is.
enum class listed : unsigned char { nowhere, hot, cold };

// The rings of a live channel as this side reads them. JavaScript writes and releases by itself; what is here are the
// positions that reading needs.
struct rings {
  explicit rings(const ring::endpoint& where) noexcept
      : end{where}, data{where.data_in}, control{where.control_in} {}

  ring::endpoint end;
  ring::consumer data;
  ring::consumer control;
  u64 seen_heads = 0; // both heads at the last look: unchanged means nothing new
  u32 control_released = 0;
  u32 published_cpu = 0;
};

// Room that the writing side waits for: the tail of that lane must reach `target`.
struct room_wanted {
  bool wanted = false;
  u32 target = 0;
};

struct channel {
  channel(u32 number, platform::unique_descriptor connection) noexcept
      : slot{number}, socket{std::move(connection)} {}

  u32 slot;
  platform::unique_descriptor socket;
  channel_state state = channel_state::handshaking;
  bool paused = false; // data stays in its ring; control is read
  bool ended = false;  // the socket saw its end
  listed list = listed::nowhere;
  u32 place = 0; // index in that list
  u32 last_active_pass = 0;
  u64 rings_allowed = 0; // doorbell bytes that can still come: each announcement of sleep allows one
  room_wanted room[2];
  std::optional<rings> reading;
  std::shared_ptr<platform::segment> segment; // shared with whoever holds views
  platform::unique_descriptor received_memory;
};

} // namespace spanwire::pump
