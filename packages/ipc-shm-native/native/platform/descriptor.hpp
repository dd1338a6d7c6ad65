// Ownership of one file descriptor.
#pragma once

#include <utility>

namespace spanwire::platform {

void close_descriptor(int descriptor) noexcept;

class unique_descriptor {
 public:
  unique_descriptor() noexcept = default;
  explicit unique_descriptor(int descriptor) noexcept : descriptor_{descriptor} {}
  unique_descriptor(unique_descriptor&& other) noexcept : descriptor_{other.release()} {}
  unique_descriptor& operator=(unique_descriptor&& other) noexcept {
    reset(other.release());
    return *this;
  }
  ~unique_descriptor() { reset(); }

  void reset(int descriptor = -1) noexcept {
    const int old = std::exchange(descriptor_, descriptor);
    if (old >= 0) close_descriptor(old);
  }
  [[nodiscard]] int release() noexcept { return std::exchange(descriptor_, -1); }
  [[nodiscard]] int get() const noexcept { return descriptor_; }
  [[nodiscard]] explicit operator bool() const noexcept { return descriptor_ >= 0; }

 private:
  int descriptor_ = -1;
};

} // namespace spanwire::platform
