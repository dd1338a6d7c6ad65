// Every system that has no files of its own here: all of it compiles, and says so when it is used. The way in is
// `poller::create`, so a caller learns it at the first step.
#include <chrono>
#include <thread>

#include "cpu.hpp"
#include "doorbell.hpp"
#include "memory.hpp"
#include "poller.hpp"
#include "rendezvous.hpp"

namespace spanwire::platform {

namespace {
constexpr failure unsupported{"it is implemented for Linux", 0, failure::kind::unsupported};
} // namespace

void close_descriptor(int) noexcept {}

ring::u32 page_bytes() noexcept {
  return ring::min_page_bytes;
}
int reserve_space(int, ring::u64) noexcept {
  return -1;
}
result<mapping> mapping::of(int, const ring::geometry&) noexcept {
  return unsupported;
}
void mapping::discard() noexcept {}
mapping::~mapping() = default;
result<segment> create_segment(const segment_request&) noexcept {
  return unsupported;
}
result<segment> open_segment(unique_descriptor) noexcept {
  return unsupported;
}

void ring_doorbell(int) noexcept {}
drained drain_doorbell(int) noexcept {
  return {0, true, false};
}

result<poller> poller::create() noexcept {
  return unsupported;
}
result<void> poller::add(int, unsigned) noexcept {
  return unsupported;
}
void poller::remove(int) noexcept {}
result<unsigned> poller::wait(std::span<ready>, int) noexcept {
  return unsupported;
}
result<interrupter> interrupter::create() noexcept {
  return unsupported;
}

result<std::string> address_lock::name_for(const std::string&) noexcept {
  return unsupported;
}
result<std::optional<address_lock>> address_lock::acquire(const std::string&, int) noexcept {
  return unsupported;
}
result<listener> listener::bind(const std::string&, unsigned) noexcept {
  return unsupported;
}
result<void> listener::publish(publish_mode) noexcept {
  return unsupported;
}
result<listener::accepted> listener::accept() noexcept {
  return unsupported;
}
void listener::close() noexcept {}
result<unique_descriptor> connect_to(const std::string&, int) noexcept {
  return unsupported;
}
result<peer_credentials> credentials_of(int) noexcept {
  return unsupported;
}
result<void> send_message(int, std::span<const std::byte>, int) noexcept {
  return unsupported;
}
result<received> receive_message(int, std::span<std::byte>, bool) noexcept {
  return unsupported;
}

std::int64_t now_ns() noexcept {
  return std::chrono::steady_clock::now().time_since_epoch() / std::chrono::nanoseconds{1};
}
std::uint32_t current_cpu() noexcept {
  return unknown_cpu;
}
unsigned usable_cpus() noexcept {
  return std::thread::hardware_concurrency();
}
void yield_cpu() noexcept {
  std::this_thread::yield();
}
bool leave_cpu() noexcept {
  return false;
}

} // namespace spanwire::platform
