// The doorbell: the rendezvous socket after its handshake. One byte without meaning wakes the peer; end-of-file says
// that the peer is gone. Nothing here blocks.
#pragma once

#include "../ring/layout.hpp"

namespace spanwire::platform {

// Wakes the peer. A full socket means that it has not read earlier rings, so it will wake; a closed one is noticed by
// whoever drains it. Costs a system call of about 300 ns.
void ring_doorbell(int socket) noexcept;

struct drained {
  ring::u32 rings = 0;      // bytes read
  bool ended = false;       // end-of-file, or the connection is broken
  bool descriptors = false; // the peer tried to pass descriptors; the kernel closed them
};

// Reads what was rung, up to a bounded amount per call.
[[nodiscard]] drained drain_doorbell(int socket) noexcept;

} // namespace spanwire::platform
