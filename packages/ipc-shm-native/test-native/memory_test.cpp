// The memory of a segment: what is refused, and what a hostile holder of the descriptor cannot do.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <cerrno>
#include <csignal>
#include <fstream>
#include <string>

#include "support.hpp"

using namespace support;
using spanwire::platform::create_segment;
using spanwire::platform::failure;
using spanwire::platform::open_segment;
using spanwire::platform::unique_descriptor;

namespace {

unique_descriptor duplicate(const unique_descriptor& original) {
  unique_descriptor copy{fcntl(original.get(), F_DUPFD_CLOEXEC, 0)};
  CHECK(copy);
  return copy;
}

// A descriptor like the server's, but with the given seals and header changes.
unique_descriptor forged(int seals, void (*change)(spanwire::ring::header_line&), u64 extra_bytes = 0) {
  const segment real = new_segment();
  unique_descriptor made{memfd_create("forged", MFD_CLOEXEC | MFD_ALLOW_SEALING)};
  CHECK_EQ(ftruncate(made.get(), static_cast<off_t>(real.where.object_bytes + extra_bytes)), 0);
  spanwire::ring::header_line header{};
  std::memcpy(&header, real.memory.base(), sizeof header);
  change(header);
  CHECK_EQ(pwrite(made.get(), &header, sizeof header, 0), static_cast<ssize_t>(sizeof header));
  CHECK_EQ(fcntl(made.get(), F_ADD_SEALS, seals), 0);
  return made;
}

constexpr int all_seals = F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL;

long resident_kib() {
  std::ifstream status{"/proc/self/status"};
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("VmRSS:")) return std::strtol(line.c_str() + 6, nullptr, 10);
  }
  return -1;
}

} // namespace

TEST("both sides of a segment see the same bytes through separate mappings") {
  segment server = new_segment(8192, 16384, 7);
  auto client = open_segment(duplicate(server.object));
  CHECK(client);
  CHECK(client->memory.base() != server.memory.base());
  CHECK_EQ(client->where.control_offset, server.where.control_offset);
  CHECK_EQ(client->where.response.bytes, 16384u);
  producer out{view(*client, role::client).data_out};
  consumer in{view(server, role::server).data_in};
  CHECK(send(out, 5000, 3));
  spanwire::ring::record found{};
  CHECK(in.refresh());
  CHECK(in.take(found));
  CHECK(matches(in.payload(found), 5000, 3));
}

TEST("ring sizes that are no power of two, too small or too large are refused") {
  for (const u32 size : {0u, 4096u - 1, 8192u + 8, 12288u, (1u << 30) + 1, 1u << 31}) {
    for (auto& made : {create_segment({0, size, 8192}), create_segment({0, 8192, size})}) {
      CHECK(!made);
      CHECK_EQ(made.error().code, EINVAL);
    }
  }
}

TEST("memory that cannot be reserved is an error") {
  auto made = create_segment({0, 8192, 8192, [](int, u64) noexcept { return ENOSPC; }});
  CHECK(!made);
  CHECK_EQ(made.error().code, ENOSPC);
  CHECK(made.error().what == failure::kind::system);
}

TEST("a limit on file sizes is an error, not a signal") {
  const int code = exit_code(in_child([] {
    rlimit limit{};
    if (getrlimit(RLIMIT_FSIZE, &limit) != 0) return 1;
    limit.rlim_cur = 1 << 20;
    if (setrlimit(RLIMIT_FSIZE, &limit) != 0) return 2;
    auto large = create_segment({0, 1 << 20, 1 << 20});
    if (large || large.error().code != EFBIG) return 3;
    return create_segment({0, 1 << 16, 1 << 16}) ? 0 : 4;
  }));
  CHECK_EQ(code, 0);
}

TEST("the space is reserved before the memory is handed out") {
  const segment made = new_segment(1 << 20, 1 << 20);
  struct stat info {};
  CHECK_EQ(fstat(made.object.get(), &info), 0);
  CHECK_EQ(static_cast<u64>(info.st_size), made.where.object_bytes);
  CHECK(static_cast<u64>(info.st_blocks) * 512 >= made.where.object_bytes);
}

TEST("a holder of the descriptor can neither shrink, grow, nor unseal the memory") {
  const segment made = new_segment();
  const int descriptor = made.object.get();
  CHECK_EQ(ftruncate(descriptor, 4096), -1);
  CHECK_EQ(errno, EPERM);
  CHECK_EQ(ftruncate(descriptor, 1 << 20), -1);
  CHECK_EQ(errno, EPERM);
  CHECK_EQ(fcntl(descriptor, F_ADD_SEALS, F_SEAL_WRITE), -1);
  CHECK_EQ(errno, EPERM);
}

TEST("a client refuses memory that is not sealed against shrinking, growing and unsealing") {
  const auto keep = [](spanwire::ring::header_line&) {};
  CHECK(open_segment(forged(all_seals, keep)));
  for (const int missing : {F_SEAL_GROW, F_SEAL_SHRINK, F_SEAL_SEAL}) {
    auto opened = open_segment(forged(all_seals & ~missing, keep));
    CHECK(!opened);
    CHECK(opened.error().what == failure::kind::protocol);
  }
  auto file = open_segment(unique_descriptor{open("/dev/null", O_RDWR | O_CLOEXEC)});
  CHECK(!file);
}

TEST("a client refuses a header that does not describe the memory") {
  using spanwire::ring::header_line;
  const auto refused = [](unique_descriptor object) {
    auto opened = open_segment(std::move(object));
    CHECK(!opened);
    CHECK(opened.error().what == failure::kind::protocol);
  };
  refused(forged(all_seals, [](header_line& header) { header.magic ^= 1; }));
  refused(forged(all_seals, [](header_line& header) { header.version += 1; }));
  refused(forged(all_seals, [](header_line& header) { header.page_bytes *= 2; }));
  refused(forged(all_seals, [](header_line& header) { header.control_offset = 4096 - 128; }));
  refused(forged(all_seals, [](header_line& header) { header.control_offset = 0; }));
  refused(forged(all_seals, [](header_line& header) { header.control_offset = 130; }));
  refused(forged(all_seals, [](header_line& header) { header.control_offset = 0xffff'ff80; }));
  refused(forged(all_seals, [](header_line& header) { header.request_ring_bytes = 16384; }));
  refused(forged(all_seals, [](header_line& header) { header.response_ring_bytes = 0; }));
  refused(forged(all_seals, [](header_line& header) { header.control_ring_bytes = 1 << 20; }));
  refused(forged(all_seals, [](header_line&) {}, 4096));
}

TEST("a hole punched into the memory reads as zeros, and both sides notice a fault or nothing") {
  segment server = new_segment();
  auto client = open_segment(duplicate(server.object));
  CHECK(client);
  producer out{view(*client, role::client).data_out};
  consumer in{view(server, role::server).data_in};
  spanwire::ring::record found{};
  CHECK(send(out, 100, 1));
  CHECK(in.refresh());
  CHECK(in.take(found));
  in.release_all();
  CHECK(send(out, 100, 2));
  CHECK_EQ(fallocate(client->object.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
                     static_cast<off_t>(client->where.object_bytes)),
           0);
  CHECK(!in.refresh()); // the head fell back to zero
  CHECK(in.broken() == spanwire::ring::fault::head_out_of_range);
  CHECK(out.try_claim(8000) == nullptr); // and so did the tail
  CHECK(send(out, 100, 3));              // the memory itself is still there to be written
}

TEST("discarded memory is given back at once, reads as zeros, and its addresses stay valid") {
  const long before = resident_kib();
  segment made = new_segment(64 << 20, 64 << 20);
  std::byte* const ring = view(made, role::server).data_in.data;
  std::memset(ring, 1, 64 << 20);
  made.object.reset();
  CHECK(resident_kib() - before >= 64 * 1024);
  made.memory.discard();
  CHECK(resident_kib() - before < 32 * 1024);
  CHECK(ring[12345] == std::byte{0});
  ring[12345] = std::byte{1};
}

TEST("segments leave no descriptor and no mapping behind") {
  const auto maps = [] {
    u32 lines = 0;
    std::ifstream file{"/proc/self/maps"};
    for (std::string line; std::getline(file, line);) lines += line.find("memfd:spanwire") != std::string::npos;
    return lines;
  };
  const u32 descriptors = open_descriptors();
  CHECK_EQ(maps(), 0u);
  {
    segment server = new_segment();
    auto client = open_segment(duplicate(server.object));
    CHECK(client);
    CHECK_EQ(open_descriptors(), descriptors + 2);
    CHECK(maps() > 0);
    auto failing = create_segment({0, 8192, 8192, [](int, u64) noexcept { return ENOSPC; }});
    CHECK(!failing);
  }
  CHECK_EQ(open_descriptors(), descriptors);
  CHECK_EQ(maps(), 0u);
}
