// Both ends at once, in two threads and in two processes, sleeping and waking by the real handshake: every byte of every
// message is checked, and a wake-up that is lost would leave the test hanging.
#include <poll.h>
#include <sys/socket.h>

#include <csignal>
#include <thread>

#include "../native/platform/doorbell.hpp"
#include "support.hpp"

using namespace support;
using spanwire::ring::record;
using spanwire::ring::side_line;

namespace {

// One side of a connection with its end of the doorbell.
struct party {
  endpoint ring;
  int doorbell;
  u32 sleeps = 0;

  // Sleeps until the peer rings, unless `ready` turns true after the flag is set. False when the peer is gone.
  template <typename Ready>
  bool sleep_unless(u32& flag, Ready ready) {
    spanwire::ring::announce_sleep(flag);
    bool alive = true;
    while (!ready()) {
      ++sleeps;
      pollfd waiting{doorbell, POLLIN, 0};
      while (poll(&waiting, 1, -1) < 0) CHECK_EQ(errno, EINTR);
      const auto rung = spanwire::platform::drain_doorbell(doorbell);
      alive = !rung.ended;
      if (!alive) break;
      spanwire::ring::announce_sleep(flag);
    }
    spanwire::ring::announce_awake(flag);
    return alive;
  }

  void ring_if(u32& flag) const {
    if (spanwire::ring::peer_waits(flag) && spanwire::ring::take_duty_to_ring(flag)) {
      spanwire::platform::ring_doorbell(doorbell);
    }
  }
};

struct connection {
  explicit connection(u32 capacity) : memory{new_segment(capacity, capacity)} {
    CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, doorbells), 0);
  }
  ~connection() {
    close(doorbells[0]);
    close(doorbells[1]);
  }
  party side(role which) { return {view(memory, which), doorbells[which == role::server ? 0 : 1]}; }

  segment memory;
  int doorbells[2]{};
};

u32 length_of(u32 number, u32 largest) {
  check::random random{number};
  return random.below(8) == 0 ? random.below(largest + 1) : random.below(128);
}

void send_all(party& me, u32 count, u32 largest) {
  producer out{me.ring.data_out};
  for (u32 number = 0; number < count; ++number) {
    const u32 length = length_of(number, largest);
    while (!send(out, length, number)) {
      CHECK(out.broken() == spanwire::ring::fault::none);
      const u32 enough = out.head() + spanwire::ring::record_bytes(length) - me.ring.data_out.capacity;
      CHECK(me.sleep_unless(me.ring.own->waiting_space, [&] { return out.released(enough); }));
    }
    me.ring_if(me.ring.peer->waiting_data);
  }
}

// Records are held for a while and given back in batches, so that the writer meets a full ring.
u64 receive_all(party& me, u32 count, u32 largest) {
  consumer in{me.ring.data_in};
  u64 bytes = 0;
  for (u32 number = 0; number < count;) {
    if (!in.refresh()) {
      CHECK(in.broken() == spanwire::ring::fault::none);
      CHECK(me.sleep_unless(me.ring.own->waiting_data, [&] { return in.has_news(); }));
      continue;
    }
    for (record found{}; in.take(found); ++number) {
      CHECK_EQ(found.word1, number);
      CHECK_EQ(found.length(), length_of(number, largest));
      CHECK(matches(in.payload(found), found.length(), number));
      bytes += found.length();
    }
    in.release_all();
    me.ring_if(me.ring.peer->waiting_space);
  }
  return bytes;
}

// Request and answer, each side asleep while the other works.
void ping(party& me, u32 rounds) {
  producer out{me.ring.data_out};
  consumer in{me.ring.data_in};
  for (u32 i = 0; i < rounds; ++i) {
    CHECK(send(out, 64, i));
    me.ring_if(me.ring.peer->waiting_data);
    while (!in.refresh()) CHECK(me.sleep_unless(me.ring.own->waiting_data, [&] { return in.has_news(); }));
    record found{};
    CHECK(in.take(found));
    CHECK(matches(in.payload(found), 64, i));
    in.release_all();
  }
}

void pong(party& me, u32 rounds) {
  producer out{me.ring.data_out};
  consumer in{me.ring.data_in};
  for (u32 i = 0; i < rounds; ++i) {
    while (!in.refresh()) CHECK(me.sleep_unless(me.ring.own->waiting_data, [&] { return in.has_news(); }));
    record found{};
    CHECK(in.take(found));
    CHECK(matches(in.payload(found), 64, i));
    in.release_all();
    CHECK(send(out, 64, i));
    me.ring_if(me.ring.peer->waiting_data);
  }
}

} // namespace

TEST("two threads exchange random sizes through the smallest ring, sleeping for data and for space") {
  connection both{8192};
  party writer = both.side(role::client);
  party reader = both.side(role::server);
  bool sent = false;
  std::thread other{[&] {
    send_all(writer, 100'000, 8192 - 8);
    sent = true;
  }};
  const u64 bytes = receive_all(reader, 100'000, 8192 - 8);
  other.join();
  CHECK(sent);
  CHECK(bytes > 0);
  CHECK(reader.sleeps > 0 && writer.sleeps > 0);
}

TEST("two threads wake each other for every message, and no wake-up is lost") {
  connection both{8192};
  party asking = both.side(role::client);
  party answering = both.side(role::server);
  std::thread other{[&] { pong(answering, 30'000); }};
  ping(asking, 30'000);
  other.join();
  CHECK(asking.sleeps > 0 && answering.sleeps > 0);
}

TEST("two processes exchange random sizes through the smallest ring, sleeping for data and for space") {
  connection both{8192};
  const pid_t child = in_child([&] {
    party writer = both.side(role::client);
    send_all(writer, 100'000, 8192 - 8);
    return writer.sleeps > 0 ? 0 : 1;
  });
  party reader = both.side(role::server);
  receive_all(reader, 100'000, 8192 - 8);
  CHECK_EQ(exit_code(child), 0);
  CHECK(reader.sleeps > 0);
}

TEST("two processes wake each other for every message, and no wake-up is lost") {
  connection both{8192};
  const pid_t child = in_child([&] {
    party answering = both.side(role::server);
    pong(answering, 30'000);
    return 0;
  });
  party asking = both.side(role::client);
  ping(asking, 30'000);
  CHECK_EQ(exit_code(child), 0);
  CHECK(asking.sleeps > 0);
}

TEST("a sleeper learns at once that its peer was killed, after it read what was sent") {
  for (int round = 0; round < 20; ++round) {
    connection both{8192};
    const pid_t child = in_child([&] {
      close(both.doorbells[0]);
      party writer = both.side(role::client);
      send_all(writer, 10, 100);
      for (;;) pause();
      return 0;
    });
    close(both.doorbells[1]);
    both.doorbells[1] = -1;
    party reader = both.side(role::server);
    receive_all(reader, 10, 100);
    kill(child, SIGKILL);
    // Nothing is ready ever: only the end of the connection can end this wait.
    CHECK(!reader.sleep_unless(reader.ring.own->waiting_data, [] { return false; }));
    CHECK_EQ(exit_code(child), 1000 + SIGKILL);
  }
}
