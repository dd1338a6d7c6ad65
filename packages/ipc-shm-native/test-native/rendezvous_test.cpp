// Owning an address, meeting there, and passing the memory over.
#include <fcntl.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <string>

#include "../native/platform/doorbell.hpp"
#include "../native/platform/rendezvous.hpp"
#include "support.hpp"

using namespace support;
using namespace spanwire::platform;

namespace {

struct temporary_directory {
  temporary_directory() {
    char pattern[] = "/tmp/spanwire-test-XXXXXX";
    CHECK(mkdtemp(pattern) != nullptr);
    path = pattern;
  }
  ~temporary_directory() { std::filesystem::remove_all(path); }
  [[nodiscard]] std::string name(const char* base) const { return path + '/' + base; }
  [[nodiscard]] u32 entries() const {
    u32 count = 0;
    for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator{path}) ++count;
    return count;
  }
  std::string path;
};

listener listening(const std::string& path) {
  auto made = listener::bind(path, 0600);
  CHECK(made);
  CHECK(made->publish(publish_mode::claim));
  return std::move(*made);
}

struct connected_pair {
  unique_descriptor client;
  unique_descriptor server;
};

connected_pair sockets() {
  int ends[2];
  CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends), 0);
  return {unique_descriptor{ends[0]}, unique_descriptor{ends[1]}};
}

void pass_descriptors(int socket, std::initializer_list<int> descriptors) {
  char byte = 1;
  iovec part{&byte, 1};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * 8)]{};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = CMSG_SPACE(sizeof(int) * descriptors.size());
  cmsghdr* const header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof(int) * descriptors.size());
  std::memcpy(CMSG_DATA(header), std::data(descriptors), sizeof(int) * descriptors.size());
  CHECK_EQ(sendmsg(socket, &message, MSG_NOSIGNAL), 1);
}

const std::byte some_bytes[5]{std::byte{'h'}, std::byte{'e'}, std::byte{'l'}, std::byte{'l'}, std::byte{'o'}};

} // namespace

TEST("a listener appears under its name only when it is published, with its mode, and leaves nothing else") {
  const temporary_directory directory;
  const std::string path = directory.name("a.sock");
  auto made = listener::bind(path, 0640);
  CHECK(made);
  CHECK_EQ(connect_to(path, 0).error().code, ENOENT);
  struct stat hidden {};
  CHECK_EQ(stat((directory.path + "/.a.sock~").c_str(), &hidden), 0);
  CHECK_EQ(hidden.st_mode & 0777, 0700u);
  CHECK(made->publish(publish_mode::claim));
  struct stat shown {};
  CHECK_EQ(stat(path.c_str(), &shown), 0);
  CHECK_EQ(shown.st_mode & 0777, 0640u);
  CHECK_EQ(directory.entries(), 1u);
  CHECK(connect_to(path, 0));
  made->close();
  CHECK_EQ(directory.entries(), 0u);
}

TEST("a name whose server was killed is taken over; one that answers is not") {
  const temporary_directory directory;
  const std::string path = directory.name("a.sock");
  int ready[2];
  CHECK_EQ(pipe(ready), 0);
  const pid_t child = in_child([&] {
    const listener held = listening(path);
    if (write(ready[1], "x", 1) != 1) return 1;
    for (;;) pause();
  });
  char byte = 0;
  CHECK_EQ(read(ready[0], &byte, 1), 1);
  {
    auto second = listener::bind(path, 0600);
    CHECK(second);
    auto published = second->publish(publish_mode::claim);
    CHECK(!published);
    CHECK_EQ(published.error().code, EADDRINUSE);
    CHECK_EQ(listener::bind(path, 0600).error().code, EBUSY); // two at once never share the private directory
  }
  CHECK(connect_to(path, 0));
  kill(child, SIGKILL);
  CHECK_EQ(exit_code(child), 1000 + SIGKILL);
  CHECK_EQ(directory.entries(), 1u);
  CHECK_EQ(connect_to(path, 0).error().code, ECONNREFUSED);
  listener next = listening(path);
  CHECK(connect_to(path, 0));
  next.close();
  CHECK_EQ(directory.entries(), 0u);
  close(ready[0]);
  close(ready[1]);
}

TEST("what a server killed between bind and publish left is removed by the next one") {
  const temporary_directory directory;
  const std::string path = directory.name("a.sock");
  const pid_t child = in_child([&] {
    const auto half = listener::bind(path, 0600);
    kill(getpid(), SIGKILL);
    return half ? 0 : 1;
  });
  CHECK_EQ(exit_code(child), 1000 + SIGKILL);
  CHECK_EQ(directory.entries(), 1u);
  listener next = listening(path);
  CHECK_EQ(directory.entries(), 1u);
  CHECK(connect_to(path, 0));
}

TEST("closing leaves the name alone when it belongs to a successor") {
  const temporary_directory directory;
  const std::string path = directory.name("a.sock");
  listener first = listening(path);
  auto second = listener::bind(path, 0600);
  CHECK(second);
  CHECK(second->publish(publish_mode::replace));
  first.close();
  CHECK(connect_to(path, 0));
  second->close();
  CHECK_EQ(connect_to(path, 0).error().code, ENOENT);
}

TEST("a file that is no socket is never removed") {
  const temporary_directory directory;
  const std::string path = directory.name("precious");
  CHECK_EQ(close(open(path.c_str(), O_CREAT | O_WRONLY, 0600)), 0);
  auto made = listener::bind(path, 0600);
  CHECK(made);
  auto published = made->publish(publish_mode::claim);
  CHECK(!published);
  CHECK_EQ(published.error().code, EEXIST);
  made->close();
  CHECK(std::filesystem::exists(path));
  CHECK_EQ(directory.entries(), 1u);
}

TEST("a private directory that others can enter is refused") {
  const temporary_directory directory;
  const std::string path = directory.name("a.sock");
  CHECK_EQ(mkdir((directory.path + "/.a.sock~").c_str(), 0777), 0);
  CHECK_EQ(chmod((directory.path + "/.a.sock~").c_str(), 0777), 0);
  auto made = listener::bind(path, 0600);
  CHECK(!made);
  CHECK_EQ(made.error().code, EPERM);
}

TEST("a path that a socket address cannot hold is refused instead of cut") {
  const temporary_directory directory;
  const std::string exact = directory.path + '/' + std::string(max_socket_path_bytes - directory.path.size() - 1, 'x');
  CHECK_EQ(exact.size(), max_socket_path_bytes);
  CHECK_EQ(connect_to(exact, 0).error().code, ENOENT);
  CHECK_EQ(connect_to(exact + 'x', 0).error().code, ENAMETOOLONG);
  CHECK_EQ(listener::bind(exact + 'x', 0600).error().code, ENAMETOOLONG);
  CHECK_EQ(listener::bind(exact, 0600).error().code, ENAMETOOLONG); // the private name is longer still
  CHECK(listener::bind(exact.substr(0, max_socket_path_bytes - 4), 0600));
  CHECK_EQ(directory.entries(), 0u);
}

TEST("one holder at a time has the lock of an address, however the path is spelled; waiters see it end") {
  const temporary_directory directory;
  const std::string path = directory.name("a.sock");
  auto first = address_lock::acquire(path, 0);
  CHECK(first && first->has_value());
  auto second = address_lock::acquire(directory.path + "/../" + directory.path.substr(5) + "/./a.sock", 0);
  CHECK(second && !second->has_value());
  auto other = address_lock::acquire(directory.name("b.sock"), 0);
  CHECK(other && other->has_value());
  auto name = address_lock::name_for(path);
  CHECK(name);
  auto waiter = connect_to(*name, 0);
  CHECK(waiter);
  pollfd waiting{waiter->get(), POLLIN, 0};
  CHECK_EQ(poll(&waiting, 1, 0), 0);
  first->reset();
  CHECK_EQ(poll(&waiting, 1, -1), 1);
  auto third = address_lock::acquire(path, 0);
  CHECK(third && third->has_value());
}

TEST("eight processes that claim one address at once leave exactly one winner, who answers") {
  const temporary_directory directory;
  const std::string path = directory.name("a.sock");
  for (int round = 0; round < 20; ++round) {
    int start[2];
    int hold[2];
    CHECK_EQ(pipe(start), 0);
    CHECK_EQ(pipe(hold), 0);
    int report[2];
    CHECK_EQ(pipe(report), 0);
    pid_t children[8];
    for (pid_t& child : children) {
      child = in_child([&] {
        close(start[1]);
        close(hold[1]);
        char byte = 0;
        if (read(start[0], &byte, 1) != 0) return 3;
        char outcome = 'l';
        listener mine;
        auto made = listener::bind(path, 0600);
        while (!made && made.error().code == EBUSY) {
          auto name = address_lock::name_for(path);
          if (auto waiter = connect_to(*name, 0)) {
            pollfd waiting{waiter->get(), POLLIN, 0};
            (void)poll(&waiting, 1, -1);
          }
          made = listener::bind(path, 0600);
        }
        if (!made) {
          outcome = 'e';
        } else if (auto published = made->publish(publish_mode::claim)) {
          outcome = 'w';
          mine = std::move(*made);
        } else {
          if (published.error().code != EADDRINUSE) outcome = 'e';
          made->close();
        }
        if (write(report[1], &outcome, 1) != 1) return 4;
        if (read(hold[0], &byte, 1) != 0) return 5; // nobody leaves before all have tried
        return 0;
      });
    }
    close(start[1]);
    int winners = 0;
    for (int i = 0; i < 8; ++i) {
      char outcome = 0;
      CHECK_EQ(read(report[0], &outcome, 1), 1);
      CHECK(outcome != 'e');
      winners += outcome == 'w';
    }
    CHECK_EQ(winners, 1);
    CHECK(connect_to(path, 0));
    close(hold[1]);
    for (const pid_t child : children) CHECK_EQ(exit_code(child), 0);
    for (const int descriptor : {start[0], hold[0], report[0], report[1]}) close(descriptor);
    CHECK_EQ(directory.entries(), 0u);
  }
}

TEST("the memory travels over the socket, and the peer's credentials are known") {
  const temporary_directory directory;
  listener server = listening(directory.name("a.sock"));
  auto client = connect_to(directory.name("a.sock"), 0);
  CHECK(client);
  auto accepted = server.accept();
  CHECK(accepted && accepted->socket);
  auto credentials = credentials_of(accepted->socket.get());
  CHECK(credentials);
  CHECK_EQ(credentials->pid, getpid());
  CHECK_EQ(credentials->uid, geteuid());

  const segment memory = new_segment();
  CHECK(send_message(accepted->socket.get(), some_bytes, memory.object.get()));
  std::byte bytes[64];
  auto got = receive_message(client->get(), bytes, true);
  CHECK(got);
  CHECK_EQ(got->bytes, sizeof some_bytes);
  CHECK(std::memcmp(bytes, some_bytes, sizeof some_bytes) == 0);
  CHECK(got->descriptor);
  CHECK(fcntl(got->descriptor.get(), F_GETFD) & FD_CLOEXEC);
  CHECK(open_segment(std::move(got->descriptor)));
  auto nothing = receive_message(client->get(), bytes, true);
  CHECK(nothing && nothing->again);
  accepted->socket.reset();
  auto end = receive_message(client->get(), bytes, true);
  CHECK(end && end->ended);
}

TEST("descriptors that nobody expects are closed, and are a protocol failure") {
  const segment memory = new_segment();
  const int extra = memory.object.get();
  auto [client, server] = sockets();
  std::byte bytes[64];
  const u32 before = open_descriptors();

  pass_descriptors(client.get(), {extra});
  auto unexpected = receive_message(server.get(), bytes, false);
  CHECK(!unexpected && unexpected.error().what == failure::kind::protocol);
  for (const auto& many : {std::initializer_list<int>{extra, extra}, {extra, extra, extra, extra, extra}}) {
    pass_descriptors(client.get(), many);
    auto too_many = receive_message(server.get(), bytes, true);
    CHECK(!too_many && too_many.error().what == failure::kind::protocol);
  }
  pass_descriptors(client.get(), {extra, extra});
  const drained rung = drain_doorbell(server.get());
  CHECK(rung.descriptors);
  CHECK_EQ(open_descriptors(), before);
}

TEST("a doorbell that nobody answers never blocks and never signals") {
  auto [client, server] = sockets();
  for (int i = 0; i < 10'000; ++i) ring_doorbell(client.get());
  drained rung = drain_doorbell(server.get());
  CHECK(rung.rings > 0 && !rung.ended);
  // The peer shares the description, so it could make this end blocking: the calls do not depend on that.
  CHECK_EQ(fcntl(server.get(), F_SETFL, 0), 0);
  CHECK_EQ(fcntl(client.get(), F_SETFL, 0), 0);
  for (int i = 0; i < 10'000; ++i) ring_doorbell(client.get());
  do {
    rung = drain_doorbell(server.get());
  } while (rung.rings > 0);
  CHECK(!rung.ended);
  server.reset();
  ring_doorbell(client.get());
  CHECK(drain_doorbell(client.get()).ended);
}

TEST("a listener without descriptors left refuses the connection instead of spinning on it") {
  const temporary_directory directory;
  listener server = listening(directory.name("a.sock"));
  const int code = exit_code(in_child([&] {
    auto first = connect_to(directory.name("a.sock"), 0);
    rlimit limit{};
    if (!first || getrlimit(RLIMIT_NOFILE, &limit) != 0) return 1;
    const int next = open("/dev/null", O_RDONLY);
    close(next);
    limit.rlim_cur = static_cast<rlim_t>(next);
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0) return 2;
    auto accepted = server.accept();
    if (!accepted || accepted->socket || !accepted->refused) return 3;
    if (!drain_doorbell(first->get()).ended) return 4;
    accepted = server.accept();
    return accepted && !accepted->socket && !accepted->refused ? 0 : 5;
  }));
  CHECK_EQ(code, 0);
}

TEST("the queue of a server that does not accept is full at some point, and says so without blocking") {
  const temporary_directory directory;
  const std::string path = directory.name("small.sock");
  const unique_descriptor server{socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)};
  sockaddr_un name{};
  name.sun_family = AF_UNIX;
  std::memcpy(name.sun_path, path.data(), path.size());
  CHECK_EQ(bind(server.get(), reinterpret_cast<sockaddr*>(&name), sizeof name), 0);
  CHECK_EQ(listen(server.get(), 0), 0);
  const auto first = connect_to(path, 0);
  CHECK(first);
  CHECK_EQ(connect_to(path, 0).error().code, EAGAIN);
  CHECK_EQ(connect_to(path, 20).error().code, EAGAIN); // after waiting
}
