// Who is on the other side: this layout has no socket that would tell.
#pragma once

#include <vector>

#include "objects.hpp"

namespace spanwire::barretenberg {

// A process, held by a descriptor that becomes readable when it ends. Its number may be reused; the descriptor is not.
class process {
 public:
  // ESRCH: there is none.
  [[nodiscard]] static result<process> of(int pid) noexcept;

  [[nodiscard]] bool ended() const noexcept;
  [[nodiscard]] int pid() const noexcept { return pid_; }
  [[nodiscard]] unsigned uid() const noexcept { return uid_; }
  [[nodiscard]] int descriptor() const noexcept { return descriptor_.get(); }

 private:
  process(int pid, unsigned uid, unique_descriptor descriptor) noexcept
      : pid_{pid}, uid_{uid}, descriptor_{std::move(descriptor)} {}

  int pid_;
  unsigned uid_;
  unique_descriptor descriptor_;
};

struct user_of_object {
  int pid;
  unsigned mappings; // of this object, in that process
};

// The processes that map an object, this one included, as far as this process may see. Reads the address maps of all
// processes: about a millisecond for each twenty of them.
[[nodiscard]] result<std::vector<user_of_object>> processes_with(const identity& which) noexcept;

} // namespace spanwire::barretenberg
