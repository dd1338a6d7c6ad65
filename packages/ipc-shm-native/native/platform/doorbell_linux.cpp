#if defined(__linux__)

#include <sys/socket.h>

#include <cerrno>

#include "doorbell.hpp"

namespace spanwire::platform {

void ring_doorbell(int socket) noexcept {
  const char byte = 0;
  (void)send(socket, &byte, 1, MSG_DONTWAIT | MSG_NOSIGNAL);
}

drained drain_doorbell(int socket) noexcept {
  drained result;
  char bytes[1024];
  iovec part{bytes, sizeof bytes};
  // No room for ancillary data: the kernel then closes descriptors that the peer sends, and says so.
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  const ssize_t got = recvmsg(socket, &message, MSG_DONTWAIT);
  if (got > 0) {
    result.rings = static_cast<ring::u32>(got);
    result.descriptors = (message.msg_flags & MSG_CTRUNC) != 0;
  } else if (got == 0 || (errno != EAGAIN && errno != EINTR)) {
    result.ended = true;
  }
  return result;
}

} // namespace spanwire::platform

#endif
