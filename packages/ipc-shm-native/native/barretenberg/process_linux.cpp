#if defined(__linux__)

#include "process.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <memory>
#include <string_view>

namespace spanwire::barretenberg {

namespace {

// The same on every architecture; older headers lack it.
constexpr long pidfd_open_call = 434;

// How often `text` is in the file, which is read in pieces.
result<unsigned> count_in(int file, std::string_view text) noexcept {
  unsigned found = 0;
  char piece[32 * 1024];
  std::size_t kept = 0;
  for (;;) {
    const ssize_t got = read(file, piece + kept, sizeof piece - kept);
    if (got < 0) return failure{"read", errno};
    if (got == 0) return found;
    const std::string_view have{piece, kept + static_cast<std::size_t>(got)};
    std::size_t at = 0;
    for (std::size_t hit; (hit = have.find(text, at)) != have.npos; at = hit + text.size()) ++found;
    // What may be the beginning of one more.
    const std::size_t rest = have.size() - at;
    kept = rest < text.size() ? rest : text.size() - 1;
    std::memmove(piece, piece + have.size() - kept, kept);
  }
}

} // namespace

result<process> process::of(int pid) noexcept {
  unique_descriptor descriptor{static_cast<int>(syscall(pidfd_open_call, pid, 0))};
  if (!descriptor) return failure{"pidfd_open", errno};
  char folder[32];
  std::snprintf(folder, sizeof folder, "/proc/%d", pid);
  struct stat info {};
  if (stat(folder, &info) != 0) return failure{"stat", errno};
  process found{pid, info.st_uid, std::move(descriptor)};
  // Between the two calls the number could have passed to another process.
  if (found.ended()) return failure{"pidfd_open", ESRCH};
  return found;
}

bool process::ended() const noexcept {
  pollfd asked{descriptor_.get(), POLLIN, 0};
  return poll(&asked, 1, 0) > 0;
}

result<std::vector<user_of_object>> processes_with(const identity& which) noexcept {
  // A line of an address map names the object between two spaces, as here.
  char text[64];
  const int length = std::snprintf(text, sizeof text, " %02x:%02x %llu ", major(which.device), minor(which.device),
                                   which.inode);
  const std::string_view wanted{text, static_cast<std::size_t>(length)};
  const auto close_folder = [](DIR* folder) { closedir(folder); };
  const std::unique_ptr<DIR, decltype(close_folder)> folder{opendir("/proc"), close_folder};
  if (folder == nullptr) return failure{"opendir", errno};
  std::vector<user_of_object> found;
  while (const dirent* const entry = readdir(folder.get())) {
    const std::string_view name{entry->d_name};
    int pid = 0;
    if (std::from_chars(name.data(), name.data() + name.size(), pid).ptr != name.data() + name.size()) continue;
    char path[48];
    std::snprintf(path, sizeof path, "/proc/%d/maps", pid);
    // Those of other users cannot be read, and cannot have opened the object either; others end meanwhile.
    const unique_descriptor map{open(path, O_RDONLY | O_CLOEXEC)};
    if (!map) continue;
    if (auto count = count_in(map.get(), wanted); count && *count > 0) found.push_back({pid, *count});
  }
  return found;
}

} // namespace spanwire::barretenberg

#endif
