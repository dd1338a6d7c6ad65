#if defined(__linux__)

#include <fcntl.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "poller.hpp"

namespace spanwire::platform {

result<poller> poller::create() noexcept {
  unique_descriptor set{epoll_create1(EPOLL_CLOEXEC)};
  if (!set) return failure{"epoll_create1", errno};
  return poller{std::move(set)};
}

result<void> poller::add(int descriptor, unsigned tag) noexcept {
  epoll_event event{};
  event.events = EPOLLIN | EPOLLRDHUP;
  event.data.u32 = tag;
  if (epoll_ctl(set_.get(), EPOLL_CTL_ADD, descriptor, &event) != 0) return failure{"epoll_ctl", errno};
  return {};
}

void poller::remove(int descriptor) noexcept {
  (void)epoll_ctl(set_.get(), EPOLL_CTL_DEL, descriptor, nullptr);
}

result<unsigned> poller::wait(std::span<ready> out, int timeout_ms) noexcept {
  epoll_event events[64];
  const int most = static_cast<int>(std::min(out.size(), std::size(events)));
  const int count = epoll_wait(set_.get(), events, most, timeout_ms);
  if (count < 0) {
    if (errno == EINTR) return 0u;
    return failure{"epoll_wait", errno};
  }
  for (int i = 0; i < count; ++i) {
    out[static_cast<unsigned>(i)] = {events[i].data.u32, (events[i].events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0};
  }
  return static_cast<unsigned>(count);
}

result<interrupter> interrupter::create() noexcept {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) return failure{"pipe2", errno};
  return interrupter{unique_descriptor{ends[0]}, unique_descriptor{ends[1]}};
}

} // namespace spanwire::platform

#endif
