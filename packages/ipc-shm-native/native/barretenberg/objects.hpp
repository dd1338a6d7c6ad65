// The two named objects of a connection, mapped. The server makes them under names of its own; the client opens them.
#pragma once

#include <string>

#include "../platform/descriptor.hpp"
#include "../platform/result.hpp"
#include "ring.hpp"

namespace spanwire::barretenberg {

using platform::failure;
using platform::result;
using platform::unique_descriptor;

// The longest name: with its suffix it is a file name.
inline constexpr std::size_t max_name_bytes = 255 - sizeof "_response" + 1;

// Which object: unlike a name, this cannot be given to another one while it is open.
struct identity {
  unsigned long long device;
  unsigned long long inode;

  friend bool operator==(const identity&, const identity&) noexcept = default;
};

// One object, open and mapped.
class object {
 public:
  object() noexcept = default;
  object(object&& other) noexcept
      : file_{std::move(other.file_)}, base_{std::exchange(other.base_, nullptr)},
        bytes_{std::exchange(other.bytes_, 0)}, identity_{other.identity_} {}
  object& operator=(object&& other) noexcept {
    std::swap(file_, other.file_);
    std::swap(base_, other.base_);
    std::swap(bytes_, other.bytes_);
    std::swap(identity_, other.identity_);
    return *this;
  }
  ~object();

  // A new one without a name, its space reserved and its header written.
  [[nodiscard]] static result<object> create(u64 capacity) noexcept;

  // The one of that name. ENOENT: there is none; EAGAIN: its maker is not ready yet.
  [[nodiscard]] static result<object> open(const std::string& path) noexcept;

  [[nodiscard]] ring_memory ring() const noexcept {
    return {reinterpret_cast<ring_header*>(base_), base_ + sizeof(ring_header), bytes_ - sizeof(ring_header)};
  }
  [[nodiscard]] int descriptor() const noexcept { return file_.get(); }
  [[nodiscard]] const identity& which() const noexcept { return identity_; }

 private:
  [[nodiscard]] result<void> map(u64 bytes) noexcept;

  unique_descriptor file_;
  std::byte* base_ = nullptr;
  u64 bytes_ = 0;
  identity identity_{};
};

enum class in_use : u8 { no, yes, unknown };

// Whether anybody but this descriptor has the object open or mapped: any user, any container. Exact, and of this moment.
// Unknown without the rights to ask.
[[nodiscard]] in_use used_by_others(int descriptor) noexcept;

class objects {
 public:
  // Makes both and gives them their names, in one step each. Names that nobody uses any more are taken; EADDRINUSE when
  // somebody does.
  [[nodiscard]] static result<objects> create(const std::string& name, u64 request_capacity,
                                              u64 response_capacity) noexcept;

  // Opens both. EBUSY: another client of ours has them.
  [[nodiscard]] static result<objects> open(const std::string& name) noexcept;

  // Removes the names if they are still those of these objects. For who made them.
  void remove_names() noexcept;

  // Nobody else has them any more.
  [[nodiscard]] bool abandoned() const noexcept;

  object request;
  object response;

 private:
  std::string request_path_;
  std::string response_path_;
};

} // namespace spanwire::barretenberg
