// A client that breaks every rule.
//   hostile PATH HELLO-IN-HEX deed NAME        does what no client may do, and waits until the server ends the connection
//   hostile PATH HELLO-IN-HEX wild SEED COUNT  does COUNT random things, over as many connections as it takes
// `wild` prints a line of JSON in the end: mutations, connections, and how many of those the server ended. `deeds` lists
// the names of deeds, each with what the server says of it.
#include <linux/falloc.h>
#include <sys/wait.h>
#include <sys/mman.h>

#include <csignal>
#include <cstddef>

#include "../../native/platform/cpu.hpp"
#include "../../native/platform/doorbell.hpp"
#include "party.hpp"

using namespace peers;
using spanwire::ring::control_prefix_bytes;
using spanwire::ring::record_bytes;
using spanwire::ring::record_header_bytes;

namespace {

// Writes as it likes: no check that a producer makes.
struct writer {
  explicit writer(const spanwire::ring::ring_memory& where) : memory{where} {}

  // A record whose header says `word0`, while `room` bytes of payload are really there. Not published.
  std::byte* put(u32 word0, u32 word1, u32 room) {
    std::byte* const at = memory.data + (head & (memory.capacity - 1));
    std::memcpy(at, std::array{word0, word1}.data(), 8);
    std::memset(at + record_header_bytes, 0x5a, std::min(room, memory.capacity - record_header_bytes));
    head += record_bytes(room);
    return at + record_header_bytes;
  }
  void publish() { std::atomic_ref(*memory.head).store(head); }
  void publish_at(u32 position) {
    head = position;
    publish();
  }
  [[nodiscard]] u32 tail() const { return std::atomic_ref(*memory.tail).load(); }
  [[nodiscard]] bool fits(u32 room) const { return head + record_bytes(room) - tail() <= memory.capacity; }

  spanwire::ring::ring_memory memory;
  u32 head = 0;
};

struct attacker {
  explicit attacker(connection& made) : with{made}, data{made.ring.data_out}, control{made.ring.control_out} {}

  void ring() { spanwire::platform::ring_doorbell(with.socket.get()); }
  // As it should be done.
  void wake() {
    auto& waiting = with.ring.peer->waiting_data;
    if (spanwire::ring::peer_waits(waiting) && spanwire::ring::take_duty_to_ring(waiting)) ring();
  }
  void send(u32 which, u32 id, u32 length, u32 flags = 0) {
    data.put(length | flags, kind_and_id(which, id), length);
    data.publish();
    wake();
  }
  void send_control(u32 which, u32 id, u32 position, u32 length, u32 says_length) {
    std::byte* const at = control.put(says_length, kind_and_id(which, id), control_prefix_bytes + length);
    std::memcpy(at, std::array{position, 0u}.data(), 8);
    control.publish();
    wake();
  }

  connection& with;
  writer data;
  writer control;
};

void pass_descriptors(int socket) {
  const std::byte byte{0};
  (void)spanwire::platform::send_message(socket, {&byte, 1}, STDERR_FILENO);
}

// ---- single deeds: each of them is to be detected ----

struct deed {
  const char* name;
  const char* finding; // what the server says of it
  void (*act)(attacker& by);
};

constexpr u32 fragment_header = 8;

const deed deeds[] = {
    {"head-backwards", "data ring: head out of range",
     [](attacker& by) {
       by.send(one_way, 0, 64);
       while (by.data.tail() != by.data.head) sched_yield();
       by.data.publish_at(by.data.head - 8);
       by.wake();
     }},
    {"head-beyond-capacity", "data ring: head out of range",
     [](attacker& by) {
       by.data.publish_at(by.data.memory.capacity + 8);
       by.wake();
     }},
    {"head-misaligned", "data ring: head misaligned",
     [](attacker& by) {
       by.data.put(8, kind_and_id(one_way, 0), 8);
       by.data.publish_at(by.data.head + 4);
       by.wake();
     }},
    {"record-longer-than-published", "data ring: record longer than what was published",
     [](attacker& by) {
       by.data.put(5000, kind_and_id(one_way, 0), 8);
       by.data.publish();
       by.wake();
     }},
    {"control-head-beyond-capacity", "control ring: head out of range",
     [](attacker& by) {
       by.control.publish_at(by.control.memory.capacity + 8);
       by.wake();
     }},
    {"control-record-too-short",
     "control record of impossible size",
     [](attacker& by) { by.send_control(cancel, 1, 0, 0, control_prefix_bytes - 4); }},
    {"control-record-too-long",
     "control record of impossible size",
     [](attacker& by) { by.send_control(cancel, 1, 0, 72, control_prefix_bytes + 72); }},
    {"control-flags",
     "Expected whole control frames of kind 8 to 10, got kind 8",
     [](attacker& by) { by.send_control(cancel, 1, 0, 0, control_prefix_bytes | flag_more); }},
    {"control-kind-unknown",
     "Expected whole control frames of kind 8 to 10, got kind 15",
     [](attacker& by) { by.send_control(15, 1, 0, 0, control_prefix_bytes); }},
    {"data-kind-in-control",
     "Expected whole control frames of kind 8 to 10, got kind 0",
     [](attacker& by) { by.send_control(request, 1, 0, 0, control_prefix_bytes); }},
    {"control-ahead-of-unpublished-data",
     "Expected a control frame that follows published data, got one that follows data to come",
     [](attacker& by) { by.send_control(cancel, 1, 4096, 0, control_prefix_bytes); }},
    {"control-kind-in-data",
     "Expected data frames of kind 0 to 7, got kind 8",
     [](attacker& by) { by.send(cancel, 1, 0); }},
    {"requests-and-then-a-control-kind", "Expected data frames of kind 0 to 7, got kind 8",
     [](attacker& by) {
       // All in one batch, large enough for their answers to wait for its end.
       for (u32 id = 1; id <= 10; ++id) by.data.put(0, kind_and_id(request, id), 0);
       by.send(cancel, 1, 0);
     }},
    {"kind-unknown", "Expected data frames of kind 0 to 7, got kind 12", [](attacker& by) { by.send(12, 1, 16); }},
    {"kind-of-a-server",
     "Expected a frame that a client may send, got one of kind 4",
     [](attacker& by) { by.send(4, 1, 16); }},
    {"id-in-use", "Expected a wire id that is not in use, got 7",
     [](attacker& by) {
       // The first is never answered: the test's handler does not, when a request begins like this.
       std::byte* const first = by.data.put(16, kind_and_id(request, 7), 16);
       *first = std::byte{'h'};
       by.send(request, 7, 16);
     }},
    {"fragments-of-two-messages", "Expected the next fragment of kind 0, id 1, got a frame of kind 0, id 2",
     [](attacker& by) {
       std::byte* const first = by.data.put(64 | flag_more, kind_and_id(request, 1), 64);
       std::memcpy(first, std::array{1000u, 0u}.data(), fragment_header);
       by.send(request, 2, 64);
     }},
    {"fragments-longer-than-announced", "Expected fragments of 60 bytes together, got 120",
     [](attacker& by) {
       std::byte* const first = by.data.put(64 | flag_more, kind_and_id(request, 1), 64);
       std::memcpy(first, std::array{60u, 0u}.data(), fragment_header);
       by.send(request, 1, 64);
     }},
    {"fragment-without-total",
     "Expected the total in the first fragment, got 4 bytes",
     [](attacker& by) { by.send(request, 1, 4, flag_more); }},
    {"extension-longer-than-its-frame", "Expected an extension block inside its frame of 16 bytes, got 65544",
     [](attacker& by) {
       std::byte* const at = by.data.put(16 | flag_extension, kind_and_id(request, 1), 16);
       std::memset(at, 0xff, 16);
       by.data.publish();
       by.wake();
     }},
    {"credit-of-three-bytes",
     "Expected credit of 4 bytes, got 3",
     [](attacker& by) { by.send_control(credit, 1, 0, 3, control_prefix_bytes + 3); }},
    {"tail-beyond-head", "Expected a peer that gives back what it was given, got one that gave back something else",
     [](attacker& by) {
       std::atomic_ref(*by.with.ring.data_in.tail).store(1u << 20);
       // Answers until the server has to look.
       for (u32 id = 1; !ended(by.with.socket.get()); ++id) {
         while (!by.data.fits(1000) && !ended(by.with.socket.get())) sched_yield();
         by.send(request, id, 1000);
       }
     }},
    {"tail-misaligned", "Expected a peer that gives back what it was given, got one that gave back something else",
     [](attacker& by) {
       for (u32 id = 1; !ended(by.with.socket.get()); ++id) {
         while (!by.data.fits(1000) && !ended(by.with.socket.get())) sched_yield();
         by.send(request, id, 1000);
         std::atomic_ref(*by.with.ring.data_in.tail).store(4);
       }
     }},
    {"doorbell-flood", "more doorbell rings than were asked for",
     [](attacker& by) {
       while (!ended(by.with.socket.get())) by.ring();
     }},
    {"control-lane-that-is-never-read", "Expected a peer that reads its control frames, got one that left 65536 unread",
     [](attacker& by) {
       // Takes all answers. The cancels of inputs, of which the test's handler takes one item each, pile up.
       for (u32 id = 1; !ended(by.with.socket.get()); ++id) {
         while (!by.data.fits(200) && !ended(by.with.socket.get())) sched_yield();
         by.data.put(8, kind_and_id(duplex_request, id), 8);
         by.send(item, id, 8);
         std::atomic_ref(*by.with.ring.data_in.tail).store(std::atomic_ref(*by.with.ring.data_in.head).load());
       }
     }},
    {"descriptors-on-the-doorbell",
     "file descriptors on the doorbell",
     [](attacker& by) { pass_descriptors(by.with.socket.get()); }},
};

int commit(const deed& what, const std::string& path, const bytes& hello) {
  auto made = greet(path, hello);
  if (!made) give_up("the server refused");
  // Until it is welcome: a credit of the connection.
  spanwire::ring::consumer control{made->ring.control_in};
  while (!control.refresh() && !ended(made->socket.get())) sched_yield();
  attacker by{*made};
  what.act(by);
  await_end(made->socket.get());
  return 0;
}

// ---- at random ----

struct tally {
  u64 mutations = 0;
  u64 connections = 0;
  u64 handshakes = 0; // wild ones
  u64 ended = 0;      // by the server
};

// A hello that is none, or half of one, or one with something behind it.
void shake_hands_wildly(dice& chance, const std::string& path, const bytes& hello, tally& counts) {
  ++counts.handshakes;
  auto socket = connect_to(path);
  bytes said = hello;
  const u32 form = chance.below(9);
  switch (form) {
    case 0: return; // nothing, and gone
    case 1: said.resize(chance.below(static_cast<u32>(hello.size()))); break;
    case 2:
      said.resize(1 + chance.below(70'000));
      for (auto& each : said) each = static_cast<std::byte>(chance.next());
      break;
    case 3: // the fields, which begin after the header; not its magic
    case 4:
      for (u32 i = 1 + chance.below(8); i > 0; --i) {
        said[16 + chance.below(static_cast<u32>(hello.size()) - 16)] = static_cast<std::byte>(chance.next());
      }
      break;
    case 5: said[12 + chance.below(4)] = static_cast<std::byte>(chance.next()); break; // its length
    case 6: said.insert(said.end(), 1 + chance.below(100), std::byte{1}); break;
    case 7: pass_descriptors(socket.get()); break;
    case 8: break;
  }
  ++counts.mutations;
  send_bytes(socket.get(), said);
  if (form == 8) {
    // A hello as it should be, and then something else than the one byte.
    auto made = await_memory(std::move(socket));
    if (!made) return;
    bytes wrong(chance.below(20), std::byte{static_cast<unsigned char>(chance.next())});
    if (chance.one_in(3)) pass_descriptors(made->socket.get());
    send_bytes(made->socket.get(), wrong);
    return;
  }
  if (chance.one_in(2)) (void)shutdown(socket.get(), SHUT_WR);
  if (chance.one_in(2)) return;
  pollfd waiting{socket.get(), POLLIN, 0};
  (void)poll(&waiting, 1, static_cast<int>(chance.below(3)));
}

u32 wild_number(dice& chance, u32 near) {
  const u32 edges[] = {0, 1, 4, 8, 0x7fff'ffff, 0x8000'0000, 0xffff'fff8, 0xffff'ffff, 8192, 4096, near};
  switch (chance.below(4)) {
    case 0: return static_cast<u32>(chance.next());
    case 1: return chance.pick(edges);
    case 2: return near + 8 * (chance.below(64) - 32);
    default: return near + chance.below(256) - 128;
  }
}

void punch_hole(dice& chance, connection& with) {
  const auto size = with.memory.where.object_bytes;
  const auto from = static_cast<off_t>(chance.next() % size);
  const auto length = static_cast<off_t>(1 + chance.next() % size);
  (void)fallocate(with.object.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, from, length);
  switch (chance.below(4)) {
    case 0: (void)!ftruncate(with.object.get(), static_cast<off_t>(chance.below(4096))); break;
    case 1: (void)fcntl(with.object.get(), F_ADD_SEALS, F_SEAL_WRITE); break;
    case 2: (void)madvise(with.memory.memory.base(), with.memory.memory.bytes(), MADV_REMOVE); break;
    default: break;
  }
}

// A record that looks right, or nearly.
void send_something(dice& chance, attacker& by) {
  const u32 flags = chance.one_in(4) ? static_cast<u32>(chance.next()) & (flag_more | flag_extension) : 0;
  const u32 which = chance.one_in(3) ? chance.below(16) : chance.below(4);
  const u32 id = chance.one_in(4) ? static_cast<u32>(chance.next()) : 1 + chance.below(16);
  const u32 room = chance.one_in(8) ? chance.below(8184) : chance.below(200);
  if (!by.data.fits(room)) return;
  std::byte* const payload = by.data.put(room | flags, kind_and_id(which, id), room);
  if (room >= 8 && flags != 0) {
    std::memcpy(payload, std::array{wild_number(chance, room), 0u}.data(), 8);
    if (chance.one_in(2)) payload[8 % room] = static_cast<std::byte>(chance.below(40));
  }
  by.data.publish();
  by.wake();
  // While it is being read.
  if (chance.one_in(4)) {
    for (u32 i = chance.below(200); i > 0; --i) {
      std::byte* const header = payload - record_header_bytes;
      header[chance.below(std::min(room + record_header_bytes, 64u))] = static_cast<std::byte>(chance.next());
    }
  }
}

void mutate(dice& chance, attacker& by) {
  connection& with = by.with;
  std::byte* const base = with.memory.memory.base();
  const u64 size = with.memory.memory.bytes();
  u32* const words = reinterpret_cast<u32*>(base + with.memory.where.control_offset);
  constexpr u32 word_count = sizeof(spanwire::ring::control_block) / 4;
  switch (chance.below(16)) {
    case 0: base[chance.next() % size] = static_cast<std::byte>(chance.next()); break;
    case 1:
      for (u64 at = chance.next() % size, end = std::min(size, at + chance.below(4096)); at < end; ++at) {
        base[at] = static_cast<std::byte>(chance.next());
      }
      break;
    case 2: { // any word of the control block, or the ones that mean something
      const u32 at = chance.one_in(3) ? chance.below(word_count) : chance.below(6) * 32 + chance.below(3);
      std::atomic_ref(words[at]).store(wild_number(chance, words[at]));
      break;
    }
    case 3: by.data.publish_at(wild_number(chance, by.data.head)); by.wake(); break;
    case 4:
      by.send_control(chance.below(16), 1 + chance.below(16), wild_number(chance, by.data.head), chance.below(72),
                      wild_number(chance, 12));
      break;
    case 5: {
      const u32 length = chance.below(65);
      by.send_control(8 + chance.below(3), 1 + chance.below(16), by.data.head, length, control_prefix_bytes + length);
      break;
    }
    case 6: punch_hole(chance, with); break;
    case 7:
      for (u32 i = chance.one_in(8) ? 5000 : chance.below(4); i > 0; --i) by.ring();
      break;
    case 8: {
      // Never reading what it rings, while it has to ring all the time.
      for (u32 i = chance.below(300); i > 0; --i) {
        std::atomic_ref(with.ring.own->waiting_data).store(1);
        std::atomic_ref(with.ring.own->waiting_space).store(1);
      }
      break;
    }
    case 9: // takes all answers unseen
      std::atomic_ref(*with.ring.data_in.tail).store(std::atomic_ref(*with.ring.data_in.head).load());
      std::atomic_ref(*with.ring.control_in.tail).store(std::atomic_ref(*with.ring.control_in.head).load());
      break;
    case 10:
      if (chance.one_in(20)) pass_descriptors(with.socket.get());
      else if (chance.one_in(20)) (void)shutdown(with.socket.get(), static_cast<int>(chance.below(3)));
      break;
    default: send_something(chance, by); break;
  }
}

int go_wild(u64 seed, u64 count, const std::string& path, const bytes& hello) {
  dice chance{seed};
  tally counts;
  while (counts.mutations < count) {
    if (chance.one_in(8)) {
      shake_hands_wildly(chance, path, hello, counts);
      continue;
    }
    auto made = greet(path, hello);
    if (!made) continue;
    ++counts.connections;
    attacker by{*made};
    bool over = false;
    for (u32 i = 1 + chance.below(100); i > 0 && !over; --i) {
      mutate(chance, by);
      ++counts.mutations;
      // The server has time to look now and then.
      for (u32 pause = chance.one_in(4) ? chance.below(3000) : 0; pause > 0; --pause) spanwire::platform::relax();
      over = ended(made->socket.get());
    }
    if (over) ++counts.ended;
  }
  std::printf("{\"mutations\":%llu,\"connections\":%llu,\"handshakes\":%llu,\"ended\":%llu}\n",
              static_cast<unsigned long long>(counts.mutations), static_cast<unsigned long long>(counts.connections),
              static_cast<unsigned long long>(counts.handshakes), static_cast<unsigned long long>(counts.ended));
  return 0;
}

} // namespace

int main(int count, char** arguments) {
  const std::string what = count > 3 ? arguments[3] : count > 1 ? arguments[1] : "";
  if (what == "deeds") {
    for (const deed& each : deeds) std::printf("%s\t%s\n", each.name, each.finding);
    return 0;
  }
  if (what == "deed" && count == 5) {
    for (const deed& each : deeds) {
      if (std::string{each.name} == arguments[4]) return commit(each, arguments[1], from_hex(arguments[2]));
    }
  }
  if (what == "wild" && count == 6) {
    return go_wild(std::stoull(arguments[4]), std::stoull(arguments[5]), arguments[1], from_hex(arguments[2]));
  }
  errno = EINVAL;
  give_up("arguments");
}
