// Hubs on both sides of real sockets and real memory: batches, sleeping and waking, death, and hostile peers.
#include <poll.h>
#include <sched.h>
#include <sys/socket.h>

#include <csignal>
#include <filesystem>
#include <map>
#include <string>
#include <thread>

#include "../native/platform/doorbell.hpp"
#include "../native/pump/hub.hpp"
#include "support.hpp"

using namespace support;
using namespace spanwire::pump;
using spanwire::platform::connect_to;
using spanwire::platform::listener;
using spanwire::platform::publish_mode;

namespace {

struct address {
  address() {
    char pattern[] = "/tmp/spanwire-hub-XXXXXX";
    CHECK(mkdtemp(pattern) != nullptr);
    directory = pattern;
    path = directory + "/s";
  }
  ~address() { std::filesystem::remove_all(directory); }
  std::string directory;
  std::string path;
};

const std::byte hello[1]{std::byte{'h'}};

std::unique_ptr<hub> new_hub(settings wanted = {}) {
  auto made = hub::create(wanted);
  CHECK(made);
  return std::move(*made);
}

// The writing side that JavaScript has in the product.
struct writer {
  explicit writer(channel& to) : data{to.reading->end.data_out}, control{to.reading->end.control_out} {}
  producer data;
  producer control;
};

// A hub whose handshake is one byte each way, with what it heard.
struct party {
  explicit party(std::unique_ptr<hub> from = new_hub(), u32 capacity = 8192) : own{std::move(from)}, ring{capacity} {}

  void listen(const std::string& path) {
    auto made = listener::bind(path, 0600);
    CHECK(made);
    CHECK(made->publish(publish_mode::claim));
    CHECK(own->listen(std::move(*made)));
  }

  u32 connect(const std::string& path) {
    auto socket = connect_to(path, 1000);
    CHECK(socket);
    auto slot = own->adopt(std::move(*socket));
    CHECK(slot);
    CHECK(own->send_handshake(*slot, hello, false));
    while (!writers.contains(*slot)) step(-1);
    return *slot;
  }

  // One batch. What is not of the handshake goes to `heard`.
  u32 step(std::int64_t timeout_ms, bool expecting = true) {
    auto count = own->wait(batch, timeout_ms, expecting);
    CHECK(count);
    handle(*count);
    return *count;
  }

  void handle(u32 count) {
    for (u32 i = 0; i < count; ++i) {
      const entry& each = batch[i];
      if ((each.what & event_bit) == 0) {
        frame(each);
        continue;
      }
      const u32 slot = static_cast<u32>(each.what & slot_mask);
      switch (static_cast<event>(each.first)) {
        case event::accepted: ++accepted; break;
        case event::readable: shake_hands(slot); break;
        case event::room: rooms.push_back(each.second); break;
        case event::closed: over(slot, 0); break;
        case event::violated: over(slot, each.second); break;
        case event::refused:
        case event::deaf: CHECK(false);
      }
    }
  }

  void shake_hands(u32 slot) {
    std::byte bytes[16];
    auto got = own->receive_handshake(slot, bytes, accepted == 0);
    CHECK(got);
    if (got->ended) return over(slot, -1);
    CHECK_EQ(got->bytes, 1u);
    if (accepted == 0) {
      CHECK(own->open_memory(slot));
      CHECK(own->send_handshake(slot, hello, false));
      own->go_live(slot, role::client);
    } else if (!own->find(slot)->segment) {
      CHECK(own->create_memory(slot, ring, ring));
      CHECK(own->send_handshake(slot, hello, true));
      return;
    } else {
      own->go_live(slot, role::server);
    }
    writers.emplace(slot, writer{*own->find(slot)});
  }

  void over(u32 slot, std::int32_t why) {
    ended[slot] = why;
    writers.erase(slot);
    own->remove(slot);
  }

  void frame(const entry& each) {
    const u32 slot = static_cast<u32>(each.what & slot_mask);
    const bool is_control = (each.what & control_lane) != 0;
    channel& from = *own->find(slot);
    auto& in = is_control ? from.reading->control : from.reading->data;
    const auto& where = is_control ? from.reading->end.control_in : from.reading->end.data_in;
    const u32 length = static_cast<u32>(each.second) & spanwire::ring::record_length_mask;
    const std::byte* const payload = where.data + each.first;
    ++frames;
    if (is_control) {
      ++controls;
      return;
    }
    if (echo) {
      CHECK(send(slot, length, static_cast<u32>(each.third), payload));
    } else {
      CHECK(matches(payload, length, static_cast<u32>(each.third)));
      numbers[slot].push_back(static_cast<u32>(each.third));
    }
    in.release_all();
    if (spanwire::ring::peer_waits(from.reading->end.peer->waiting_space)) own->ring(slot);
  }

  bool send(u32 slot, u32 length, u32 number, const std::byte* bytes = nullptr, lane which = lane::data) {
    writer& to = writers.at(slot);
    producer& out = which == lane::data ? to.data : to.control;
    std::byte* const payload = out.try_claim(length);
    if (payload == nullptr) return false;
    if (bytes != nullptr) {
      std::memcpy(payload, bytes, length);
    } else {
      fill(payload, length, number);
    }
    out.publish(length, number);
    if (spanwire::ring::peer_waits(own->find(slot)->reading->end.peer->waiting_data)) own->ring(slot);
    return true;
  }

  std::unique_ptr<hub> own;
  u32 ring;
  bool echo = false;
  std::vector<entry> batch = std::vector<entry>(64);
  u32 accepted = 0;
  u32 frames = 0;
  u32 controls = 0;
  std::map<u32, writer> writers;
  std::map<u32, std::vector<u32>> numbers;
  std::map<u32, std::int32_t> ended;
  std::vector<std::int32_t> rooms;
};

// A server in a thread of its own that echoes until all of its clients have left.
std::thread echo_server(const std::string& path, u32 clients, settings wanted = {}) {
  auto server = std::make_unique<party>(new_hub(wanted));
  server->listen(path);
  return std::thread{[server = std::move(server), clients] {
    server->echo = true;
    while (server->ended.size() < clients || server->accepted < clients) {
      if (server->step(-1) == 0) std::abort();
    }
  }};
}

void exchange(party& client, u32 slot, u32 number) {
  CHECK(client.send(slot, 64, number));
  const u32 before = client.frames;
  while (client.frames == before) client.step(-1);
  CHECK_EQ(client.numbers[slot].back(), number);
}

// Server and client in one thread, so that every step is in the test's hands.
struct both {
  explicit both(u32 capacity = 8192, settings of_server = {0}, settings of_client = {0})
      : server{new_hub(of_server), capacity}, client{new_hub(of_client), capacity} {
    server.listen(where.path);
    auto socket = connect_to(where.path, 0);
    CHECK(socket);
    slot = *client.own->adopt(std::move(*socket));
    CHECK(client.own->send_handshake(slot, hello, false));
    while (server.writers.empty()) {
      server.step(0);
      client.step(0);
    }
    settle();
  }
  // Until both sleep. A step of 0 ms arms before it gives up.
  void settle() {
    while (server.step(0) + client.step(0) > 0) {}
  }
  bool server_is_rung() { return rung(*server.own); }
  static bool rung(hub& which) {
    pollfd waiting{which.descriptor(), POLLIN, 0};
    return poll(&waiting, 1, 0) == 1;
  }
  address where;
  party server;
  party client;
  u32 slot = 0;
};

} // namespace

TEST("small payloads of data frames are copied to the places of their entries; large ones, those beyond, and control are not") {
  both pair{64 * 1024};
  std::vector<std::byte> places(copy_places * copy_place_bytes, std::byte{0xee});
  hub& own = *pair.client.own;
  own.copy_small_payloads_to(places);
  pair.client.batch.resize(copy_places + 8);
  const auto place = [&](std::size_t i) { return places.data() + i * copy_place_bytes; };
  const std::vector<std::byte> untouched(copy_place_bytes, std::byte{0xee});
  const auto is_untouched = [&](std::size_t i) { return std::memcmp(place(i), untouched.data(), untouched.size()) == 0; };

  // Control comes first in a batch, and takes a place that stays as it is.
  const std::byte control[16]{};
  CHECK(pair.server.send(pair.slot, sizeof control, 1, control, lane::control));
  const u32 lengths[] = {0, 1, copy_place_bytes, copy_place_bytes + 1, 64};
  for (u32 i = 0; i < 5; ++i) CHECK(pair.server.send(pair.slot, lengths[i], 100 + i));
  CHECK_EQ(own.collect(pair.client.batch), 6u);
  CHECK(is_untouched(0));
  CHECK(is_untouched(1));
  for (const u32 i : {1u, 2u, 4u}) CHECK(matches(place(i + 1), lengths[i], 100 + i));
  CHECK(is_untouched(4));
  pair.client.handle(6);

  // As many entries as there are places, and more; a batch begins with its first entry wherever it lies.
  std::fill(places.begin(), places.end(), std::byte{0xee});
  for (u32 i = 0; i < copy_places + 8; ++i) CHECK(pair.server.send(pair.slot, 8, i));
  CHECK_EQ(own.collect(pair.client.batch), copy_places + 8);
  for (u32 i = 0; i < copy_places; ++i) CHECK(matches(place(i), 8, i));
  pair.client.handle(copy_places + 8);
  CHECK_EQ(pair.client.frames, 5 + copy_places + 8 + 1);
}

TEST("a client and a server meet, talk in both directions, and part") {
  both pair;
  CHECK_EQ(pair.server.accepted, 1u);
  for (u32 i = 0; i < 100; ++i) {
    CHECK(pair.client.send(pair.slot, i * 3, i));
    CHECK(pair.server.send(0, i * 5, i + 1000));
    pair.settle();
  }
  CHECK_EQ(pair.server.numbers[0].size(), 100u);
  CHECK_EQ(pair.client.numbers[pair.slot].back(), 1099u);
  pair.client.own->remove(pair.slot);
  pair.settle();
  CHECK_EQ(pair.server.ended.at(0), 0);
  CHECK_EQ(pair.server.own->channel_count(), 0u);
}

TEST("everything that was sent arrives before the news that the peer is gone") {
  both pair;
  u32 sent = 0;
  while (pair.client.send(pair.slot, 8, sent)) ++sent; // several batches
  CHECK(sent > 200);
  pair.client.own->remove(pair.slot);
  pair.settle();
  CHECK_EQ(pair.server.numbers[0].size(), sent);
  CHECK_EQ(pair.server.ended.at(0), 0);
}

TEST("an armed hub is woken by one doorbell for a burst, and a hub that is awake by none") {
  both pair;
  CHECK(!pair.server_is_rung());
  CHECK(pair.client.send(pair.slot, 8, 1));
  CHECK(pair.server_is_rung());
  for (u32 i = 2; i < 10; ++i) CHECK(pair.client.send(pair.slot, 8, i));
  CHECK_EQ(spanwire::platform::drain_doorbell(pair.server.own->find(0)->socket.get()).rings, 1u);
  pair.server.own->expect(0);
  CHECK(pair.client.send(pair.slot, 8, 10));
  CHECK(!pair.server_is_rung());
  CHECK_EQ(pair.server.step(0), 10u);
}

TEST("news that come between the announcement of sleep and the second look keep a hub awake") {
  both pair;
  pair.server.own->expect(0);
  CHECK(pair.server.own->awake());
  CHECK(pair.client.send(pair.slot, 8, 1));
  CHECK(!pair.server.own->arm());
  CHECK_EQ(pair.server.step(0), 1u);
  CHECK(pair.server.own->arm());
  CHECK(!pair.server.own->awake());
}

TEST("a hub that was woken takes what is there first, and hears the doorbell afterwards") {
  const std::int32_t expecting = 0;
  both pair;
  CHECK(!pair.server.own->find_news());
  CHECK(pair.client.send(pair.slot, 8, 1));
  CHECK(pair.server.own->find_news());
  CHECK(!pair.server.own->find_news()); // it is awake: whoever wants to know more has to look at the sockets
  bool heard_before = false;
  CHECK(pair.server.own->turn(pair.server.batch, &expecting, [&](u32 count) {
    heard_before = !pair.server_is_rung();
    pair.server.handle(count);
    return true;
  }) == hub::turn_end::asleep);
  CHECK_EQ(pair.server.frames, 1u);
  CHECK(!heard_before);
  CHECK(!pair.server_is_rung());
}

TEST("a client that had to wake its server waits awake for it, where that pays, and tries again where it did not") {
  const std::int32_t expecting = 1;
  // One turn is shorter than such a wait, so whoever waits says `busy` first, unless it stands still meanwhile.
  both pair{8192, {0}, {1, 50'000}};
  hub& own = *pair.client.own;
  u32 sent = 0;
  const auto wake_server = [&] {
    while (pair.server.step(0) > 0) {}
    spanwire::ring::store_relaxed(own.find(pair.slot)->reading->end.peer->cpu, 0); // not on this CPU
    CHECK(pair.client.send(pair.slot, 8, ++sent));
    CHECK(pair.server_is_rung());
    own.expect(pair.slot);
  };
  const auto turn = [&] {
    return own.turn(pair.client.batch, &expecting, [&](u32 count) {
      pair.client.handle(count);
      return true;
    });
  };
  const auto sleeps_at_once = [&] {
    wake_server();
    return turn() == hub::turn_end::asleep;
  };
  const auto waits = [&] {
    wake_server();
    const auto begin = spanwire::platform::now_ns();
    while (turn() == hub::turn_end::busy) {}
    return spanwire::platform::now_ns() - begin >= 150'000;
  };
  CHECK(waits());
  for (u32 i = 1; i < 16; ++i) CHECK(sleeps_at_once());
  CHECK(waits());
  for (u32 i = 1; i < 16; ++i) CHECK(sleeps_at_once());
  // This time the answer comes before it sleeps.
  wake_server();
  pair.server.echo = true;
  CHECK_EQ(pair.server.step(0), 1u);
  pair.server.echo = false;
  while (turn() == hub::turn_end::busy) {}
  CHECK_EQ(pair.client.numbers[pair.slot].back(), sent);
  CHECK(waits());
}

TEST("a wait ends after its time and not before") {
  both pair;
  const auto begin = spanwire::platform::now_ns();
  CHECK_EQ(pair.server.step(30), 0u);
  CHECK(spanwire::platform::now_ns() - begin >= 30'000'000);
}

TEST("control frames are reported beside a data lane that is paused, and the data once it is not") {
  both pair;
  pair.server.own->pause(0, true);
  CHECK(pair.client.send(pair.slot, 8, 1));
  CHECK(pair.client.send(pair.slot, 16, 2, nullptr, lane::control));
  pair.settle();
  CHECK_EQ(pair.server.controls, 1u);
  CHECK_EQ(pair.server.frames, 1u);
  CHECK(pair.client.send(pair.slot, 8, 3));
  pair.settle();
  CHECK_EQ(pair.server.frames, 1u);
  pair.server.own->pause(0, false);
  CHECK(pair.server.own->awake());
  pair.settle();
  CHECK_EQ(pair.server.frames, 3u);
}

TEST("a paused channel whose peer left is reported as closed only after it was read") {
  both pair;
  pair.server.own->pause(0, true);
  CHECK(pair.client.send(pair.slot, 8, 1));
  pair.client.own->remove(pair.slot);
  pair.settle();
  CHECK(pair.server.ended.empty());
  pair.server.own->pause(0, false);
  pair.settle();
  CHECK_EQ(pair.server.numbers[0].size(), 1u);
  CHECK_EQ(pair.server.ended.at(0), 0);
}

TEST("room that is wanted is reported when it is there: at once, while awake, and out of sleep") {
  both pair;
  pair.server.own->pause(0, true);
  while (pair.client.send(pair.slot, 1000, 7)) {}
  const u32 target = pair.client.writers.at(pair.slot).data.head() + 1008 - 8192;
  pair.client.own->expect(pair.slot);
  CHECK(!pair.client.own->want_room(pair.slot, lane::data, target)); // awake: looked at on every pass
  CHECK(pair.client.own->arm());
  pair.server.own->pause(0, false);
  CHECK(pair.server.step(0) > 0); // releases, and rings since the client sleeps for room
  CHECK(both::rung(*pair.client.own));
  pair.settle();
  CHECK_EQ(pair.client.rooms.size(), 1u);
  CHECK_EQ(pair.client.rooms[0], static_cast<std::int32_t>(lane::data));
  CHECK(pair.client.own->want_room(pair.slot, lane::data, target)); // at once, and no event
  pair.settle();
  CHECK_EQ(pair.client.rooms.size(), 1u);

  pair.server.own->pause(0, true);
  while (pair.client.send(pair.slot, 1000, 7)) {}
  const u32 next = pair.client.writers.at(pair.slot).data.head() + 1008 - 8192;
  CHECK(!pair.client.own->want_room(pair.slot, lane::data, next)); // asleep
  pair.server.own->pause(0, false);
  CHECK(pair.server.step(0) > 0);
  CHECK(both::rung(*pair.client.own));
  pair.settle();
  CHECK_EQ(pair.client.rooms.size(), 2u);
}

TEST("slots are reused only after the batch that may still name them") {
  both pair;
  pair.server.own->remove(0);
  int ends[2];
  CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends), 0);
  CHECK_EQ(*pair.server.own->adopt(spanwire::platform::unique_descriptor{ends[0]}), 1u);
  (void)pair.server.own->collect(pair.server.batch);
  CHECK_EQ(*pair.server.own->adopt(spanwire::platform::unique_descriptor{ends[1]}), 0u);
}

TEST("a turn ends asleep, at its work limit, or when it is told to stop") {
  const std::int32_t expecting = 1;
  both pair;
  party busy{new_hub({50'000, 0})};
  CHECK(pair.server.own->turn(pair.server.batch, &expecting, [](u32) { return true; }) == hub::turn_end::asleep);
  CHECK(pair.client.send(pair.slot, 8, 1));
  pair.server.own->expect(0);
  CHECK(pair.server.own->turn(pair.server.batch, &expecting, [](u32) { return false; }) == hub::turn_end::stopped);
  // Always one more message: only the limit ends this.
  u32 batches = 0;
  pair.server.own->expect(0);
  CHECK(pair.client.send(pair.slot, 8, 0));
  CHECK(pair.server.own->turn(pair.server.batch, &expecting, [&](u32 count) {
    pair.server.handle(count);
    CHECK(pair.client.send(pair.slot, 8, ++batches));
    return true;
  }) == hub::turn_end::busy);
  CHECK(batches >= 16); // so often it reads the clock: who stood still before has reached the limit then
}

TEST("confined to one CPU, a hub spins for a peer on another one, and not at all for one that needs its own") {
  std::thread confined{[] {
    const int here = sched_getcpu();
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(here, &one);
    CHECK_EQ(sched_setaffinity(0, sizeof one, &one), 0);
    const std::int32_t expecting = 1;
    for (const bool same : {false, true}) {
      // It would spin for an hour, so only the work limit of 1 ms ends that.
      both pair{8192, {3'600'000'000'000}};
      hub& own = *pair.server.own;
      own.expect(0);
      const u32 cpu_of_peer = static_cast<u32>(here) + (same ? 0 : 1);
      spanwire::ring::side_line& peer = *own.find(0)->reading->end.peer;
      spanwire::ring::store_relaxed(peer.cpu, cpu_of_peer + 1);
      CHECK(!own.shares_cpu()); // it sleeps
      spanwire::ring::announce_awake(peer.waiting_data);
      CHECK_EQ(own.shares_cpu(), same);
      const hub::turn_end end = own.turn(pair.server.batch, &expecting, [](u32) { return true; });
      CHECK(end == (same ? hub::turn_end::asleep : hub::turn_end::busy));
    }
  }};
  confined.join();
}

TEST("a thousand round trips between threads that spin, and between threads that sleep") {
  for (const std::int64_t spin_ns : {50'000, 0}) {
    const address where;
    std::thread server = echo_server(where.path, 1, {spin_ns});
    {
      party client{new_hub({spin_ns})};
      const u32 slot = client.connect(where.path);
      for (u32 i = 0; i < 1000; ++i) exchange(client, slot, i);
    }
    server.join();
  }
}

TEST("sixty-four clients of one server each get their own echoes, in order") {
  const address where;
  std::thread server = echo_server(where.path, 64);
  check::random random{3};
  {
    party clients;
    std::vector<u32> slots;
    for (u32 i = 0; i < 64; ++i) slots.push_back(clients.connect(where.path));
    std::map<u32, u32> sent;
    for (u32 i = 0; i < 20'000; ++i) {
      // Mostly a few active ones, sometimes any: hot and cold channels, and the change between them.
      const u32 slot = slots[random.below(random.below(8) == 0 ? 64 : 4)];
      // At most 40 of up to 112 bytes in flight: the echoes always fit.
      const bool may_send = sent[slot] - clients.numbers[slot].size() < 40;
      if (may_send && clients.send(slot, random.below(100), sent[slot])) {
        ++sent[slot];
      } else {
        clients.step(-1);
      }
    }
    for (const u32 slot : slots) {
      while (clients.numbers[slot].size() < sent[slot]) clients.step(-1);
      for (u32 i = 0; i < sent[slot]; ++i) CHECK_EQ(clients.numbers[slot][i], i);
    }
  }
  server.join();
}

TEST("the death of a client's process is noticed, whatever it was doing") {
  const address where;
  party server;
  server.echo = true;
  server.listen(where.path);
  check::random random{4};
  for (u32 round = 0; round < 20; ++round) {
    const pid_t child = in_child([&] {
      party client;
      const u32 slot = client.connect(where.path);
      for (u32 i = 0;; ++i) exchange(client, slot, i);
      return 0;
    });
    const u32 enough = server.frames + random.below(2000);
    while (server.frames < enough) CHECK(server.step(-1) > 0);
    kill(child, SIGKILL);
    while (server.ended.empty()) CHECK(server.step(-1) > 0);
    CHECK_EQ(server.ended.begin()->second, 0);
    server.ended.clear();
    CHECK_EQ(exit_code(child), 1000 + SIGKILL);
    CHECK_EQ(server.own->channel_count(), 0u);
  }
}

TEST("a client that rings more often than it was asked to is dropped; the others are not") {
  both pair;
  const u32 other = *pair.client.own->adopt(std::move(*connect_to(pair.where.path, 0)));
  CHECK(pair.client.own->send_handshake(other, hello, false));
  while (pair.server.writers.size() < 2) pair.settle();
  CHECK(pair.client.send(pair.slot, 8, 1));
  pair.settle();
  for (int i = 0; i < 100; ++i) {
    spanwire::platform::ring_doorbell(pair.client.own->find(pair.slot)->socket.get());
  }
  pair.settle();
  CHECK_EQ(pair.server.ended.at(0), static_cast<std::int32_t>(violation::doorbell));
  CHECK(pair.client.send(other, 8, 2));
  pair.settle();
  CHECK_EQ(pair.server.numbers[1].size(), 1u);
}

TEST("broken rings, wild control records and descriptors on the doorbell end that client, with the reason") {
  const auto reason = [](void (*attack)(both&)) {
    both pair;
    attack(pair);
    pair.settle();
    CHECK_EQ(pair.server.ended.size(), 1u);
    return static_cast<violation>(pair.server.ended.at(0));
  };
  CHECK(reason([](both& pair) {
          CHECK(pair.client.send(pair.slot, 8, 1));
          *pair.client.own->find(pair.slot)->reading->end.data_out.head += 4;
        }) == violation::data_ring);
  CHECK(reason([](both& pair) {
          CHECK(pair.client.send(pair.slot, 8, 1));
          *pair.client.own->find(pair.slot)->reading->end.control_out.head = 0x8000'0000;
        }) == violation::control_ring);
  CHECK(reason([](both& pair) { CHECK(pair.client.send(pair.slot, 0, 1, nullptr, lane::control)); }) ==
        violation::control_size);
  CHECK(reason([](both& pair) { CHECK(pair.client.send(pair.slot, 73, 1, nullptr, lane::control)); }) ==
        violation::control_size);
  CHECK(reason([](both& pair) {
          const std::byte byte[1]{};
          CHECK(spanwire::platform::send_message(pair.client.own->find(pair.slot)->socket.get(), byte, 0));
        }) == violation::descriptors);
}

TEST("a client that scribbles over all its memory harms nobody else and never leads outside it") {
  check::random random{5};
  u32 dropped = 0;
  for (u32 round = 0; round < 300; ++round) {
    both pair;
    spanwire::platform::segment& memory = *pair.client.own->find(pair.slot)->segment;
    for (u32 step = 0; step < 20 && pair.server.ended.empty(); ++step) {
      (void)pair.client.writers.at(pair.slot).data.try_claim(8);
      for (u32 i = random.below(8); i-- > 0;) {
        // Mostly words of the control block that mean something, where it hurts.
        const u32 word = memory.where.control_offset + random.below(6) * 128 + random.below(3) * 4;
        const u32 at = random.below(2) == 0 ? word : random.below(static_cast<u32>(memory.memory.bytes() / 4)) * 4;
        const u32 value = random.below(2) == 0 ? random.below(64) * 8 : static_cast<u32>(random.next());
        std::memcpy(memory.memory.base() + at, &value, 4);
      }
      spanwire::platform::ring_doorbell(pair.client.own->find(pair.slot)->socket.get());
      auto count = pair.server.own->wait(pair.server.batch, 0, true);
      CHECK(count);
      for (u32 i = 0; i < *count; ++i) {
        const entry& each = pair.server.batch[i];
        if ((each.what & event_bit) != 0) {
          dropped += each.first == static_cast<std::int32_t>(event::violated);
          if (each.first != static_cast<std::int32_t>(event::room)) pair.server.over(0, each.second);
          continue;
        }
        const auto& in = pair.server.own->find(0)->reading->end;
        const u32 capacity = ((each.what & control_lane) != 0 ? in.control_in : in.data_in).capacity;
        CHECK(static_cast<u32>(each.first) + (static_cast<u32>(each.second) & 0x3fff'ffff) <= 2 * capacity);
      }
    }
  }
  CHECK(dropped > 100);
}
