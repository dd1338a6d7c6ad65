// Objects with names, processes on the other side, and threads that sleep and are woken.
#include "../native/barretenberg/wire.hpp"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <cerrno>
#include <chrono>
#include <string>
#include <thread>

#include "../native/barretenberg/inbox.hpp"
#include "../native/barretenberg/watcher.hpp"
#include "support.hpp"

namespace {

using namespace spanwire::barretenberg;
using spanwire::platform::now_ns;

// A name of its own for each test, free again at its end.
struct name_under_test {
  std::string name = "spanwire-test-" + std::to_string(getpid()) + '-' + std::to_string(next++);
  std::string request = "/dev/shm/" + name + "_request";
  std::string response = "/dev/shm/" + name + "_response";

  name_under_test() = default;
  name_under_test(const name_under_test&) = delete;
  ~name_under_test() {
    unlink(request.c_str());
    unlink(response.c_str());
  }

  [[nodiscard]] bool exists() const {
    return access(request.c_str(), F_OK) == 0 || access(response.c_str(), F_OK) == 0;
  }

  static inline unsigned next = 0;
};

struct both_sides {
  explicit both_sides(const std::string& name, u64 capacity, std::int64_t spin_ns = 0) {
    auto made = objects::create(name, capacity, capacity);
    CHECK(made);
    auto opened = objects::open(name);
    CHECK(opened);
    server = std::make_unique<wire>(std::move(*made), role::server, spin_ns);
    client = std::make_unique<wire>(std::move(*opened), role::client, spin_ns);
  }

  std::unique_ptr<wire> server;
  std::unique_ptr<wire> client;
};

bool send(wire& over, u32 length, u32 number) {
  std::vector<std::byte> payload(length);
  support::fill(payload.data(), length, number);
  return over.try_send(payload);
}

// Sends, waiting for room.
void send_all(wire& over, u32 length, u32 number) {
  while (!send(over, length, number)) CHECK_EQ(over.wait_for_room(length, -1), wait_end::ready);
}

void expect(wire& over, u32 length, u32 number) {
  CHECK_EQ(over.wait_for_message(-1), wait_end::ready);
  message got{};
  CHECK(over.in().take(got));
  CHECK_EQ(got.length, length);
  CHECK(support::matches(got.payload, length, number));
  over.release();
}

void finish(pid_t child, int code = 0) {
  int status = 0;
  CHECK_EQ(waitpid(child, &status, 0), child);
  CHECK(WIFEXITED(status));
  CHECK_EQ(WEXITSTATUS(status), code);
}

u32 length_of(u32 number) {
  return (number * 37) % 500;
}

// ---- names ----

TEST("barretenberg objects: they are the original's: two names, mode 0600, 256 bytes and the capacity") {
  const name_under_test at;
  auto made = objects::create(at.name, 4096, 8192);
  CHECK(made);
  struct stat info {};
  CHECK_EQ(stat(at.request.c_str(), &info), 0);
  CHECK_EQ(info.st_size, 256 + 4096);
  CHECK_EQ(info.st_mode & 07777u, 0600u);
  CHECK_EQ(stat(at.response.c_str(), &info), 0);
  CHECK_EQ(info.st_size, 256 + 8192);
  const ring_header& header = *made->request.ring().header;
  CHECK_EQ(header.capacity, 4096u);
  CHECK_EQ(header.mask, 4095u);
  CHECK_EQ(header.wrap_head, never_wrapped);
  made->remove_names();
  CHECK(!at.exists());
}

TEST("barretenberg objects: names that cannot be are refused") {
  for (const std::string& bad : {std::string{}, std::string{"a/b"}, std::string{"a\0b", 3}, std::string(247, 'x')}) {
    auto made = objects::create(bad, 4096, 4096);
    CHECK(!made);
    CHECK_EQ(made.error().code, EINVAL);
    CHECK(!objects::open(bad));
  }
  for (const u64 bad : {0u, 512u, 5000u}) CHECK(!objects::create("spanwire-test-x", bad, 4096));
}

TEST("barretenberg objects: opening what nobody made says ENOENT, and half of it EAGAIN") {
  const name_under_test at;
  auto opened = objects::open(at.name);
  CHECK(!opened);
  CHECK_EQ(opened.error().code, ENOENT);
  // As the original makes them: name, size, header, one after the other.
  const spanwire::platform::unique_descriptor request{open(at.request.c_str(), O_RDWR | O_CREAT | O_EXCL, 0600)};
  CHECK_EQ(objects::open(at.name).error().code, EAGAIN);
  CHECK_EQ(ftruncate(request.get(), 256 + 4096), 0);
  CHECK_EQ(objects::open(at.name).error().code, EAGAIN);
  ring_header header{};
  write_header(header, 4096);
  CHECK_EQ(pwrite(request.get(), &header, sizeof header, 0), static_cast<ssize_t>(sizeof header));
  CHECK_EQ(objects::open(at.name).error().code, EAGAIN);
  CHECK(object::open(at.request));
}

TEST("barretenberg objects: a size and a header that contradict each other are a protocol failure") {
  const name_under_test at;
  const spanwire::platform::unique_descriptor file{open(at.request.c_str(), O_RDWR | O_CREAT | O_EXCL, 0600)};
  const auto reason = [&](off_t bytes, u64 capacity, u64 mask) {
    CHECK_EQ(ftruncate(file.get(), bytes), 0);
    ring_header header{};
    write_header(header, capacity);
    header.mask = mask;
    CHECK_EQ(pwrite(file.get(), &header, sizeof header, 0), static_cast<ssize_t>(sizeof header));
    auto opened = object::open(at.request);
    CHECK(!opened);
    return opened.error().what;
  };
  using kind = failure::kind;
  CHECK_EQ(reason(256 + 4096, 8192, 8191), kind::protocol);
  CHECK_EQ(reason(256 + 4096, 4096, 4095 + 64), kind::protocol);
  CHECK_EQ(reason(256 + 5000, 5000, 4999), kind::protocol);
  CHECK_EQ(reason(256, 4096, 4095), kind::protocol);
  CHECK_EQ(reason(100, 4096, 4095), kind::protocol);
}

TEST("barretenberg objects: a live name is not taken: of our own server, in this process and in another one") {
  const name_under_test at;
  auto made = objects::create(at.name, 4096, 4096);
  CHECK(made);
  auto second = objects::create(at.name, 4096, 4096);
  CHECK(!second);
  CHECK_EQ(second.error().code, EADDRINUSE);
  finish(support::in_child([&] { return objects::create(at.name, 4096, 4096).error().code == EADDRINUSE ? 0 : 1; }));
  CHECK(at.exists());
}

TEST("barretenberg objects: a live name is not taken: of a server that knows no lock, mapped or only open") {
  for (const bool mapped : {true, false}) {
    const name_under_test at;
    int ready[2];
    CHECK_EQ(pipe(ready), 0);
    const pid_t other = support::in_child([&] {
      for (const std::string& path : {at.request, at.response}) {
        const int file = open(path.c_str(), O_RDWR | O_CREAT | O_EXCL, 0600);
        if (ftruncate(file, 256 + 4096) != 0) return 1;
        if (!mapped) continue;
        if (mmap(nullptr, 256 + 4096, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0) == MAP_FAILED) return 1;
        close(file);
      }
      (void)!write(ready[1], "x", 1);
      pause();
      return 0;
    });
    char byte = 0;
    CHECK_EQ(read(ready[0], &byte, 1), 1);
    auto made = objects::create(at.name, 4096, 4096);
    CHECK(!made);
    CHECK_EQ(made.error().code, EADDRINUSE);
    CHECK(at.exists());
    // Once it is killed its names are stale, and taken.
    kill(other, SIGKILL);
    CHECK_EQ(waitpid(other, nullptr, 0), other);
    auto later = objects::create(at.name, 4096, 4096);
    CHECK(later);
    later->remove_names();
    CHECK(!at.exists());
    close(ready[0]);
    close(ready[1]);
  }
}

TEST("barretenberg objects: the names of a server that was killed are taken") {
  const name_under_test at;
  const pid_t other = support::in_child([&] {
    auto made = objects::create(at.name, 4096, 4096);
    if (!made) return 1;
    raise(SIGKILL);
    return 0;
  });
  CHECK_EQ(waitpid(other, nullptr, 0), other);
  CHECK(at.exists());
  CHECK(objects::create(at.name, 8192, 8192));
}

TEST("barretenberg objects: of many servers that start at once exactly one gets the name") {
  for (u32 round = 0; round < 20; ++round) {
    const name_under_test at;
    // A stale pair makes it harder.
    if (round % 2 == 0) {
      auto stale = objects::create(at.name, 4096, 4096);
      CHECK(stale);
    }
    int go[2];
    int won[2];
    int over[2];
    for (int* const ends : {go, won, over}) CHECK_EQ(pipe(ends), 0);
    constexpr int starters = 6;
    for (int i = 0; i < starters; ++i) {
      (void)support::in_child([&] {
        close(go[1]);
        close(over[1]);
        char byte = 0;
        if (read(go[0], &byte, 1) != 0) return 2;
        auto made = objects::create(at.name, 4096, 4096);
        if (!made) return made.error().code == EADDRINUSE ? 0 : 3;
        if (write(won[1], "x", 1) != 1) return 4;
        return read(over[0], &byte, 1) == 0 ? 0 : 5; // holds it until everybody has tried
      });
    }
    close(won[1]);
    close(go[1]);
    for (int finished = 0; finished < starters; ++finished) {
      if (finished == starters - 1) close(over[1]);
      int status = 0;
      CHECK(waitpid(-1, &status, 0) > 0);
      CHECK(WIFEXITED(status));
      CHECK_EQ(WEXITSTATUS(status), 0);
    }
    char winners[starters];
    CHECK_EQ(read(won[0], winners, sizeof winners), 1);
    for (const int end : {go[0], won[0], over[0]}) close(end);
  }
}

TEST("barretenberg objects: only the names of these very objects are removed") {
  const name_under_test at;
  auto made = objects::create(at.name, 4096, 4096);
  CHECK(made);
  CHECK_EQ(unlink(at.request.c_str()), 0);
  const spanwire::platform::unique_descriptor successor{open(at.request.c_str(), O_RDWR | O_CREAT | O_EXCL, 0600)};
  made->remove_names();
  CHECK_EQ(access(at.request.c_str(), F_OK), 0);
  CHECK(access(at.response.c_str(), F_OK) != 0);
}

TEST("barretenberg objects: a symbolic link in the place of a name is not followed") {
  const name_under_test at;
  CHECK_EQ(symlink("/dev/null", at.request.c_str()), 0);
  CHECK_EQ(objects::create(at.name, 4096, 4096).error().code, ELOOP);
  CHECK_EQ(objects::open(at.name).error().code, ELOOP);
}

TEST("barretenberg objects: a second client of ours is refused while the first one lives") {
  const name_under_test at;
  auto made = objects::create(at.name, 4096, 4096);
  CHECK(made);
  {
    auto first = objects::open(at.name);
    CHECK(first);
    auto second = objects::open(at.name);
    CHECK(!second);
    CHECK_EQ(second.error().code, EBUSY);
    CHECK(!made->abandoned());
  }
  CHECK(made->abandoned());
  CHECK(objects::open(at.name));
}

// ---- processes ----

TEST("barretenberg process: those that map an object are found, with how often") {
  const name_under_test at;
  auto made = objects::create(at.name, 4096, 4096);
  CHECK(made);
  int ready[2];
  CHECK_EQ(pipe(ready), 0);
  const pid_t other = support::in_child([&] {
    const int file = open(at.request.c_str(), O_RDWR);
    if (mmap(nullptr, 4096, PROT_READ, MAP_SHARED, file, 0) == MAP_FAILED) return 1;
    (void)!write(ready[1], "x", 1);
    pause();
    return 0;
  });
  char byte = 0;
  CHECK_EQ(read(ready[0], &byte, 1), 1);
  auto found = processes_with(made->request.which());
  CHECK(found);
  CHECK_EQ(found->size(), 2u);
  for (const user_of_object& user : *found) {
    CHECK(user.pid == getpid() || user.pid == other);
    CHECK_EQ(user.mappings, user.pid == other ? 2u : 1u); // a fork inherits
  }
  auto peer = process::of(other);
  CHECK(peer);
  CHECK_EQ(peer->uid(), geteuid());
  CHECK(!peer->ended());
  kill(other, SIGKILL);
  pollfd ended{peer->descriptor(), POLLIN, 0};
  CHECK_EQ(poll(&ended, 1, -1), 1);
  CHECK(peer->ended());
  CHECK_EQ(waitpid(other, nullptr, 0), other);
  CHECK_EQ(process::of(other).error().code, ESRCH);
  close(ready[0]);
  close(ready[1]);
}

// ---- sleeping and waking ----

TEST("barretenberg wire: messages pass both ways between processes, with both sides asleep in between") {
  for (const std::int64_t spin_ns : {0, 20'000}) {
    const name_under_test at;
    auto made = objects::create(at.name, 1024, 1024);
    CHECK(made);
    constexpr u32 count = 3000;
    const pid_t child = support::in_child([&] {
      auto opened = objects::open(at.name);
      if (!opened) return 1;
      wire client{std::move(*opened), role::client, spin_ns};
      for (u32 i = 0; i < count; ++i) {
        send_all(client, length_of(i), i);
        expect(client, length_of(i + 1), i);
      }
      return 0;
    });
    wire server{std::move(*made), role::server, spin_ns};
    for (u32 i = 0; i < count; ++i) {
      expect(server, length_of(i), i);
      send_all(server, length_of(i + 1), i);
    }
    finish(child);
  }
}

TEST("barretenberg wire: a full ring makes its writer wait, and nothing is lost") {
  const name_under_test at;
  auto made = objects::create(at.name, 1024, 1024);
  CHECK(made);
  constexpr u32 count = 30'000;
  const pid_t child = support::in_child([&] {
    auto opened = objects::open(at.name);
    if (!opened) return 1;
    wire client{std::move(*opened), role::client, 0};
    for (u32 i = 0; i < count; ++i) send_all(client, length_of(i), i);
    expect(client, 4, 4);
    return 0;
  });
  wire server{std::move(*made), role::server, 0};
  for (u32 i = 0; i < count; ++i) expect(server, length_of(i), i);
  send_all(server, 4, 4);
  finish(child);
}

TEST("barretenberg wire: a wait ends at its deadline, and never before") {
  const name_under_test at;
  both_sides sides{at.name, 1024};
  for (const std::int64_t wait_ns : {0, 1'000'000, 150'000'000}) {
    const std::int64_t deadline = now_ns() + wait_ns;
    CHECK_EQ(sides.client->wait_for_message(deadline), wait_end::timed_out);
    CHECK(now_ns() >= deadline);
  }
  CHECK(send(*sides.client, 508, 1) && send(*sides.client, 508, 2));
  const std::int64_t deadline = now_ns() + 1'000'000;
  CHECK_EQ(sides.client->wait_for_room(508, deadline), wait_end::timed_out);
  CHECK(now_ns() >= deadline);
  CHECK_EQ(load(sides.client->room_flag()), 0u);
  CHECK_EQ(load(sides.client->message_flag()), 0u);
}

TEST("barretenberg wire: a blocked wait ends when the peer is killed, after what it had sent") {
  const name_under_test at;
  auto made = objects::create(at.name, 1024, 1024);
  CHECK(made);
  wire server{std::move(*made), role::server, 0};
  int go[2];
  CHECK_EQ(pipe(go), 0);
  const pid_t child = support::in_child([&] {
    auto opened = objects::open(at.name);
    if (!opened) return 1;
    wire client{std::move(*opened), role::client, 0};
    CHECK(send(client, 10, 1));
    char byte = 0;
    if (read(go[0], &byte, 1) != 1) return 2;
    CHECK(send(client, 20, 2));
    raise(SIGKILL);
    return 0;
  });
  auto peer = process::of(child);
  CHECK(peer);
  server.watch(std::move(*peer));
  expect(server, 10, 1);
  CHECK_EQ(write(go[1], "x", 1), 1);
  expect(server, 20, 2);
  CHECK_EQ(server.wait_for_message(-1), wait_end::peer_gone);
  CHECK(send(server, 508, 1) && send(server, 400, 2));
  CHECK_EQ(server.wait_for_room(508, -1), wait_end::peer_gone);
  CHECK_EQ(waitpid(child, nullptr, 0), child);
  close(go[0]);
  close(go[1]);
}

TEST("barretenberg wire: a farewell wakes and ends the peer's wait") {
  const name_under_test at;
  both_sides sides{at.name, 1024};
  std::thread leaving{[&] {
    while (load(sides.client->message_flag()) == 0) std::this_thread::yield();
    sides.server->say_farewell();
  }};
  CHECK_EQ(sides.client->wait_for_message(-1), wait_end::peer_gone);
  leaving.join();
  sides.client->forgive_farewell();
  CHECK(!sides.client->peer_gone());
}

TEST("barretenberg wire: a peer that breaks its ring ends the wait") {
  const name_under_test at;
  both_sides sides{at.name, 1024};
  std::thread lying{[&] {
    u64& head = sides.server->out().header().head;
    while (load(sides.client->message_flag()) == 0) std::this_thread::yield();
    store(head, u64{5000});
    wake_sleepers(futex_word(head));
  }};
  CHECK_EQ(sides.client->wait_for_message(-1), wait_end::broken);
  CHECK_EQ(sides.client->broken(), fault::head_out_of_range);
  lying.join();
}

TEST("barretenberg wire: a new client waits until a server has done with the last one, and gets none of its answers") {
  const name_under_test at;
  both_sides sides{at.name, 1024};
  wire& server = *sides.server;
  // It runs: whatever the rings say, an answer may be on its way.
  CHECK(!sides.client->settle_as_client());
  CHECK(send(*sides.client, 10, 1) && send(*sides.client, 20, 2));
  sides.client.reset();
  auto opened = objects::open(at.name);
  CHECK(opened);
  wire second{std::move(*opened), role::client, 0};
  CHECK(!second.settle_as_client());
  expect(server, 10, 1);
  CHECK(send(server, 400, 1));
  expect(server, 20, 2);
  CHECK(send(server, 400, 2));
  CHECK(!second.settle_as_client()); // takes what is there away
  CHECK(send(server, 500, 3));
  store(server.message_flag(), u32{1}); // asleep
  CHECK(second.settle_as_client());
  CHECK(second.clean());
  CHECK(send(second, 30, 3));
  expect(server, 30, 3);
  CHECK(send(server, 40, 4));
  expect(second, 40, 4);
}

TEST("barretenberg wire: a new client of our own server waits until that has noticed that the last one left") {
  const name_under_test at;
  both_sides sides{at.name, 1024};
  store(sides.server->message_flag(), u32{1});
  sides.client->say_farewell();
  CHECK(!sides.client->settle_as_client());
  CHECK(sides.server->peer_gone());
  sides.server->forgive_farewell();
  CHECK(sides.client->settle_as_client());
  // The original knows no farewell, and takes no notice.
  store(sides.server->out().header().made_by_us, u32{0});
  sides.client->say_farewell();
  CHECK(sides.client->settle_as_client());
}

// ---- the thread that sleeps for an event loop ----

bool readable(watcher& by, int timeout_ms) {
  pollfd asked{by.descriptor(), POLLIN, 0};
  return poll(&asked, 1, timeout_ms) == 1;
}

u32 low(u64 position) {
  return static_cast<u32>(position);
}

// As an event loop does it.
void arm(watcher& by, wire& over, bool want_room = false) {
  store(over.message_flag(), u32{1});
  if (want_room) store(over.room_flag(), u32{1});
  by.arm({true, low(over.in().seen_head()), want_room, low(over.out().seen_tail()), false});
}

TEST("barretenberg watcher: its descriptor is readable after a message, once") {
  for (const bool many_words : {true, false}) {
    const name_under_test at;
    both_sides sides{at.name, 1024};
    auto made = watcher::create(*sides.server, nullptr, many_words);
    CHECK(made);
    watcher& thread = **made;
    for (u32 i = 0; i < 200; ++i) {
      arm(thread, *sides.server);
      CHECK(!readable(thread, 0));
      CHECK(send(*sides.client, 10, i));
      CHECK(readable(thread, -1));
      thread.drain();
      CHECK(!readable(thread, 0));
      expect(*sides.server, 10, i);
    }
  }
}

TEST("barretenberg watcher: a message before it is armed counts, too") {
  const name_under_test at;
  both_sides sides{at.name, 1024};
  auto made = watcher::create(*sides.server);
  CHECK(made);
  CHECK(send(*sides.client, 10, 1));
  arm(**made, *sides.server);
  CHECK(readable(**made, -1));
}

TEST("barretenberg watcher: its descriptor is readable once there is room, if that is wanted") {
  for (const bool many_words : {true, false}) {
    const name_under_test at;
    both_sides sides{at.name, 1024};
    auto made = watcher::create(*sides.client, nullptr, many_words);
    CHECK(made);
    for (u32 i = 0; i < 50; ++i) {
      CHECK(send(*sides.client, 500, i) && send(*sides.client, 500, i));
      CHECK(!send(*sides.client, 500, i));
      arm(**made, *sides.client, true);
      CHECK(!readable(**made, 0));
      expect(*sides.server, 500, i);
      CHECK(readable(**made, -1));
      (*made)->drain();
      expect(*sides.server, 500, i);
    }
  }
}

TEST("barretenberg watcher: what is disarmed says nothing, and can be armed again") {
  const name_under_test at;
  both_sides sides{at.name, 1024};
  auto made = watcher::create(*sides.server);
  CHECK(made);
  watcher& thread = **made;
  for (u32 i = 0; i < 200; ++i) {
    arm(thread, *sides.server);
    thread.disarm();
    CHECK(send(*sides.client, 10, i));
    wake_sleepers(sides.server->message_word());
    expect(*sides.server, 10, i);
    CHECK(!readable(thread, 0));
  }
  arm(thread, *sides.server);
  CHECK(send(*sides.client, 10, 1));
  CHECK(readable(thread, -1));
}

TEST("barretenberg watcher: its descriptor is readable after a farewell") {
  const name_under_test at;
  both_sides sides{at.name, 1024};
  auto made = watcher::create(*sides.server);
  CHECK(made);
  arm(**made, *sides.server);
  sides.client->say_farewell();
  CHECK(readable(**made, -1));
}

TEST("barretenberg watcher: messages that are not wanted do not disturb the wait for room") {
  for (const bool many_words : {true, false}) {
    const name_under_test at;
    both_sides sides{at.name, 1024};
    auto made = watcher::create(*sides.server, nullptr, many_words);
    CHECK(made);
    CHECK(send(*sides.server, 508, 1) && send(*sides.server, 508, 2) && !send(*sides.server, 100, 3));
    store(sides.server->room_flag(), u32{1});
    (*made)->arm({false, low(sides.server->in().seen_head()), true, low(sides.server->out().seen_tail()), false});
    CHECK(send(*sides.client, 10, 1));
    wake_sleepers(sides.server->message_word());
    CHECK(!readable(**made, 5));
    expect(*sides.client, 508, 1);
    CHECK(readable(**made, -1));
  }
}

TEST("barretenberg wire: who waits may give up") {
  const name_under_test at;
  both_sides sides{at.name, 1024};
  int asked = 0;
  const wire::patience impatient{[](void* context) noexcept { return ++*static_cast<int*>(context) < 2; }, &asked};
  CHECK_EQ(sides.client->wait_for_message(-1, &impatient), wait_end::given_up);
  CHECK_EQ(asked, 2);
}

// The published binaries look at the flag without a fence after they moved the head: they may move on without waking.
TEST("barretenberg watcher: a wake-up that a peer without a fence lost is made up for") {
  for (const bool many_words : {true, false}) {
    const name_under_test at;
    both_sides sides{at.name, 1024};
    auto made = watcher::create(*sides.server, nullptr, many_words);
    CHECK(made);
    for (u32 i = 0; i < 20; ++i) {
      // The head moves just after the look of the sleeper, and nobody wakes it.
      store(sides.server->message_flag(), u32{0});
      (*made)->arm({true, low(sides.server->in().seen_head()), false, 0, false});
      CHECK(send(*sides.client, 10, i));
      CHECK(readable(**made, -1));
      (*made)->drain();
      expect(*sides.server, 10, i);
    }
  }
}

TEST("barretenberg watcher: it ends at once, whatever it is doing") {
  const name_under_test at;
  both_sides sides{at.name, 1024};
  for (const bool many_words : {true, false}) {
    for (u32 i = 0; i < 20; ++i) {
      auto made = watcher::create(*sides.server, nullptr, many_words);
      CHECK(made);
      if (i % 2 == 0) arm(**made, *sides.server, i % 4 == 0);
    }
  }
}

TEST("barretenberg watcher: an event loop that sleeps after every message loses none") {
  const name_under_test at;
  auto pair = objects::create(at.name, 1024, 1024);
  CHECK(pair);
  constexpr u32 count = 5000;
  const pid_t child = support::in_child([&] {
    auto opened = objects::open(at.name);
    if (!opened) return 1;
    wire client{std::move(*opened), role::client, 0};
    for (u32 i = 0; i < count; ++i) {
      send_all(client, length_of(i), i);
      if (i % 16 == 15) expect(client, 4, i);
    }
    return 0;
  });
  wire server{std::move(*pair), role::server, 0};
  auto made = watcher::create(server);
  CHECK(made);
  for (u32 i = 0; i < count; ++i) {
    while (!server.in().refresh()) {
      arm(**made, server);
      CHECK(readable(**made, -1));
      (*made)->drain();
      store_relaxed(server.message_flag(), u32{0});
    }
    expect(server, length_of(i), i);
    if (i % 16 == 15) send_all(server, 4, i);
  }
  finish(child);
}

TEST("barretenberg spinner: whose wake-ups take as long as if the peer came first on this CPU leaves it") {
  if (spanwire::platform::usable_cpus() < 2) return;
  // On a busy machine it may be moved back before it looks.
  bool left = false;
  for (int attempt = 0; attempt < 100 && !left; ++attempt) {
    spinner spins{50'000};
    const u32 before = spanwire::platform::current_cpu();
    for (int i = 0; i < 4; ++i) spins.woke(100'000);
    left = spanwire::platform::current_cpu() != before;
  }
  CHECK(left);
}

// ---- a ring that must not stay full ----

void expect_next(inbox& from, wire& over, u32 length, u32 number) {
  message got{};
  CHECK(from.peek(got));
  CHECK_EQ(got.length, length);
  CHECK(support::matches(got.payload, length, number));
  if (from.drop(got)) over.release();
}

TEST("barretenberg inbox: what is rescued comes first, in order, and then the ring") {
  const name_under_test at;
  both_sides sides{at.name, 1024};
  inbox in{sides.client->in()};
  in.expect();
  CHECK(!in.any());
  for (u32 i = 0; i < 5; ++i) CHECK(send(*sides.server, i * 20, i));
  CHECK(!in.rescue()); // a first look: somebody may be about to take them
  CHECK(in.rescue());
  sides.client->release();
  CHECK(sides.server->out().drained());
  CHECK(send(*sides.server, 500, 5));
  CHECK(in.any());
  for (u32 i = 0; i < 5; ++i) expect_next(in, *sides.client, i * 20, i);
  expect_next(in, *sides.client, 500, 5);
  CHECK(!in.any());
}

TEST("barretenberg inbox: nothing is rescued from a reader that keeps up") {
  const name_under_test at;
  both_sides sides{at.name, 1024};
  inbox in{sides.client->in()};
  CHECK(!in.any());
  for (u32 i = 0; i < 10; ++i) {
    CHECK(send(*sides.server, 10, i));
    CHECK(!in.rescue());
    CHECK(in.any());
    expect_next(in, *sides.client, 10, i);
    CHECK(!in.any());
  }
}

TEST("barretenberg inbox: everything is rescued from a reader that makes progress and does not keep up") {
  const name_under_test at;
  both_sides sides{at.name, 1024};
  inbox in{sides.client->in()};
  CHECK(!in.any());
  for (u32 i = 0; i < 3; ++i) CHECK(send(*sides.server, 10, i));
  CHECK(!in.rescue());
  CHECK(in.any());
  expect_next(in, *sides.client, 10, 0);
  CHECK(in.rescue());
  sides.client->release();
  for (u32 i = 1; i < 3; ++i) expect_next(in, *sides.client, 10, i);
}

TEST("barretenberg inbox: nothing is taken that came after the last look") {
  const name_under_test at;
  both_sides sides{at.name, 1024};
  inbox in{sides.client->in()};
  CHECK(send(*sides.server, 10, 0));
  CHECK(in.any());
  CHECK(send(*sides.server, 10, 1));
  expect_next(in, *sides.client, 10, 0);
  message got{};
  CHECK(!in.peek(got));
  CHECK(in.any());
  expect_next(in, *sides.client, 10, 1);
}

// A reader that did not see its ring empty for 100 ms.
struct late_reader {
  explicit late_reader(bool trusts = false) {
    if (trusts) in.trust_peer();
    in.expect();
    for (u32 i = 0; i < 3; ++i) CHECK(send(*sides.client, 10, i));
  }
  void answer(u32 count) {
    for (u32 i = 0; i < count; ++i) {
      expect(*sides.server, 10, i);
      CHECK(send(*sides.server, 20, i));
    }
  }
  void give_up(u32 count) {
    for (u32 i = 0; i < count; ++i) {
      message read{};
      CHECK(sides.server->in().refresh() && sides.server->in().take(read));
      sides.server->release();
    }
  }
  void look_late() {
    std::this_thread::sleep_for(std::chrono::milliseconds{100});
    (void)in.any();
    in.look();
  }
  void settle() {
    in.settle_doubt(sides.client->out(), 3);
    sides.client->release();
  }

  name_under_test at;
  both_sides sides{at.name, 1024};
  inbox in{sides.client->in()};
};

TEST("barretenberg inbox: who comes late to answers holds them back until all requests are answered") {
  late_reader late;
  late.answer(2);
  CHECK(!late.in.doubtful());
  late.look_late();
  CHECK(late.in.doubtful());
  late.settle();
  CHECK(late.in.doubtful() && !late.in.lost());
  CHECK(late.sides.server->out().drained()); // there is room meanwhile
  expect(*late.sides.server, 10, 2);
  CHECK(send(*late.sides.server, 20, 2));
  late.settle();
  CHECK(!late.in.doubtful() && !late.in.lost());
  CHECK(late.in.any());
  for (u32 i = 0; i < 3; ++i) expect_next(late.in, *late.sides.client, 20, i);
}

TEST("barretenberg inbox: who comes late learns that an answer was given up") {
  late_reader late;
  late.answer(2);
  late.give_up(1);
  late.look_late();
  late.settle();
  CHECK(late.in.doubtful() && late.in.lost());
}

TEST("barretenberg inbox: who comes late to nothing, or to a peer that waits, has no doubt") {
  late_reader nothing;
  nothing.look_late();
  CHECK(!nothing.in.doubtful());
  late_reader trusting{true};
  trusting.answer(2);
  trusting.look_late();
  CHECK(!trusting.in.doubtful());
}

TEST("barretenberg inbox: a rescue that comes late is in doubt, too") {
  late_reader late;
  late.answer(2);
  std::this_thread::sleep_for(std::chrono::milliseconds{100});
  CHECK(late.in.rescue());
  CHECK(late.in.doubtful());
}

TEST("barretenberg watcher: a ward is relieved of its messages while its event loop is busy") {
  struct ward_under_test final : ward {
    explicit ward_under_test(wire& watched) : over{watched}, in{watched.in()} {}
    void tick() noexcept override {
      const auto guard = in.lock();
      (void)in.any();
      in.look();
      if (in.rescue()) over.release();
    }

    wire& over;
    inbox in;
  };
  const name_under_test at;
  both_sides sides{at.name, 1024};
  ward_under_test guarded{*sides.client};
  constexpr u32 count = 200;
  {
    auto made = watcher::create(*sides.client, &guarded);
    CHECK(made);
    guarded.in.expect();
    (*made)->guard();
    // This thread is the server, so nobody reads what it writes but the watcher.
    for (u32 i = 0; i < count; ++i) send_all(*sides.server, 100, i);
  }
  for (u32 i = 0; i < count; ++i) {
    CHECK(guarded.in.any()); // the last ones may have come after the last tick
    expect_next(guarded.in, *sides.client, 100, i);
  }
}

} // namespace
