// The set of descriptors that one server or client sleeps on. It is itself one descriptor, which an event loop can poll.
#pragma once

#include <span>

#include "descriptor.hpp"
#include "result.hpp"

namespace spanwire::platform {

class poller {
 public:
  struct ready {
    unsigned tag; // as given to `add`
    bool ended;   // the peer closed; there may still be bytes to read
  };

  [[nodiscard]] static result<poller> create() noexcept;

  [[nodiscard]] result<void> add(int descriptor, unsigned tag) noexcept;
  void remove(int descriptor) noexcept;

  // Waits until something is ready: `timeout_ms` below 0 waits for ever, 0 only looks. Blocks at most that long.
  // Returns how many entries of `out` were filled; 0 also when a signal interrupted the wait.
  [[nodiscard]] result<unsigned> wait(std::span<ready> out, int timeout_ms) noexcept;

  [[nodiscard]] int descriptor() const noexcept { return set_.get(); }

 private:
  explicit poller(unique_descriptor set) noexcept : set_{std::move(set)} {}

  unique_descriptor set_;
};

// A way for one thread to end the wait of another: what is signalled makes `waits_on` readable until it is closed.
struct interrupter {
  unique_descriptor waits_on;
  unique_descriptor signals;

  [[nodiscard]] static result<interrupter> create() noexcept;
  void signal() noexcept { signals.reset(); } // its end-of-file is the signal
};

} // namespace spanwire::platform
