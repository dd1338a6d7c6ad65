// The ring on its own, one thread: exact sequences, wrapping, and what a hostile peer can write.
#include <algorithm>
#include <deque>
#include <vector>

#include "../native/ring/copy.hpp"
#include "support.hpp"

using namespace support;
using spanwire::ring::fault;
using spanwire::ring::record;
using spanwire::ring::record_bytes;
using spanwire::ring::ring_memory;

namespace {

constexpr u32 capacity = 8192;

// Both ends of one ring, as if it had already moved `position` bytes.
struct pair {
  explicit pair(u32 position = 0)
      : memory{new_segment(capacity)},
        ring{view(memory, role::server).data_in},
        out{ring, position},
        in{ring, position} {
    *ring.head = position;
    *ring.tail = position;
  }

  bool receive(u32 length, u32 number) {
    record found{};
    if (!in.refresh() || !in.take(found)) return false;
    CHECK_EQ(found.length(), length);
    CHECK_EQ(found.word1, number);
    CHECK(matches(in.payload(found), length, number));
    in.release_all();
    return true;
  }

  segment memory;
  ring_memory ring;
  producer out;
  consumer in;
};

fault fault_of_head(u32 head) {
  pair both;
  CHECK(send(both.out, 100, 1));
  CHECK(both.receive(100, 1));
  *both.ring.head = head;
  record found{};
  CHECK(!both.in.refresh());
  CHECK(!both.in.take(found));
  return both.in.broken();
}

fault fault_of_tail(u32 tail) {
  pair both;
  while (send(both.out, 1000, 1)) {}
  CHECK(both.receive(1000, 1));
  CHECK(send(both.out, 1000, 1)); // the tail is now known to be 1008
  *both.ring.tail = tail;
  CHECK(!send(both.out, 1000, 1));
  return both.out.broken();
}

fault fault_of_length(u32 word0) {
  pair both;
  CHECK(send(both.out, 100, 1));
  u32 words[2] = {word0, 0};
  std::memcpy(both.ring.data, words, sizeof words);
  record found{};
  CHECK(both.in.refresh());
  CHECK(!both.in.take(found));
  CHECK(!both.in.refresh());
  return both.in.broken();
}

} // namespace

TEST("every payload size passes at every offset of the ring") {
  for (const u32 length : {0u, 1u, 7u, 8u, 9u, 64u, 1000u, capacity / 2, capacity - 16, capacity - 8}) {
    for (u32 start = 0; start < capacity; start += 8) {
      pair* const both = [&] {
        static pair one; // one segment, repositioned: thousands of mappings would only slow the test
        one.out = producer{one.ring, start};
        one.in = consumer{one.ring, start};
        *one.ring.head = *one.ring.tail = start;
        return &one;
      }();
      CHECK(send(both->out, length, start));
      CHECK(both->receive(length, start));
    }
  }
}

TEST("payloads are copied whole, however many pieces that takes") {
  using spanwire::ring::copy_piece_bytes;
  using spanwire::ring::copy_to_peer;
  for (const std::size_t size : {std::size_t{0}, std::size_t{1}, copy_piece_bytes - 1, copy_piece_bytes, copy_piece_bytes + 1,
                                 3 * copy_piece_bytes + 5}) {
    std::vector<std::byte> from(size);
    for (std::size_t i = 0; i < size; ++i) from[i] = static_cast<std::byte>(i * 31 + (i >> 8));
    std::vector<std::byte> into(size + 1, std::byte{0x5a});
    copy_to_peer(into.data(), from);
    CHECK(std::equal(from.begin(), from.end(), into.begin()));
    CHECK(into.back() == std::byte{0x5a});
  }
}

TEST("random sizes arrive in order, complete, while the position wraps past 2^32") {
  pair both{0xffff'0000u};
  check::random random{1};
  std::deque<std::pair<u32, u32>> sent;
  u32 number = 0;
  u64 total = 0;
  while (total < 4u << 20) {
    const u32 length = random.below(random.below(4) == 0 ? capacity - 8 : 200);
    if (send(both.out, length, number)) {
      sent.emplace_back(length, number++);
      total += record_bytes(length);
    } else {
      CHECK(!sent.empty());
      CHECK(both.receive(sent.front().first, sent.front().second));
      sent.pop_front();
    }
  }
  for (const auto& [length, expected] : sent) CHECK(both.receive(length, expected));
  CHECK(!both.in.refresh());
  CHECK_EQ(both.out.head(), both.in.position());
  CHECK(both.out.head() < 0xffff'0000u);
}

TEST("a ring takes exactly its capacity, and room comes back only by release") {
  pair both;
  for (u32 i = 0; i < capacity / 64; ++i) CHECK(send(both.out, 56, i));
  CHECK(!send(both.out, 0, 0));
  record found{};
  CHECK(both.in.refresh());
  CHECK(both.in.take(found));
  CHECK(!send(both.out, 56, 0));
  both.in.release_all();
  CHECK(send(both.out, 56, 0));
  CHECK(!send(both.out, 0, 0));
}

TEST("a payload that can never fit is refused without a fault") {
  pair both;
  CHECK(both.out.try_claim(capacity - 7) == nullptr);
  CHECK(both.out.try_claim(0xffff'ffff) == nullptr);
  CHECK(both.out.broken() == fault::none);
  CHECK(send(both.out, capacity - 8, 1));
}

TEST("records that are held out of order are given back up to the oldest that is held") {
  pair both;
  for (u32 i = 0; i < 4; ++i) CHECK(send(both.out, 2040, i));
  std::vector<u32> ends;
  CHECK(both.in.refresh());
  for (record found{}; both.in.take(found);) ends.push_back(both.in.position());
  CHECK_EQ(ends.size(), 4u);
  CHECK(!both.out.released(ends[0]));
  both.in.release(ends[1]);
  CHECK(both.out.released(ends[1]));
  CHECK(!both.out.released(ends[2]));
  CHECK(send(both.out, 4088, 4));
  CHECK(!send(both.out, 0, 5));
}

TEST("an aborted claim leaves nothing behind") {
  pair both;
  CHECK(both.out.try_claim(100) != nullptr);
  both.out.abort();
  CHECK(!both.in.refresh());
  CHECK(send(both.out, 10, 7));
  CHECK(both.receive(10, 7));
}

TEST("committed records appear together, when they are flushed") {
  pair both;
  for (u32 i = 0; i < 3; ++i) {
    std::byte* const payload = both.out.try_claim(24);
    CHECK(payload != nullptr);
    fill(payload, 24, i);
    both.out.commit(24, i);
  }
  CHECK(!both.in.refresh());
  CHECK(!both.in.has_news());
  both.out.flush();
  CHECK(both.in.has_news());
  for (u32 i = 0; i < 3; ++i) CHECK(both.receive(24, i));
}

TEST("payloads start on 8 bytes, and the mirror shows the same bytes") {
  pair both{capacity - 16};
  CHECK(send(both.out, 100, 3));
  record found{};
  CHECK(both.in.refresh());
  CHECK(both.in.take(found));
  CHECK_EQ(found.offset % 8, 0u);
  CHECK_EQ(found.offset, capacity - 8);
  CHECK(std::memcmp(both.ring.data, both.ring.data + capacity, capacity) == 0);
}

TEST("a head that runs backwards, too far, or off a record boundary is a fault, and sticks") {
  const u32 at = record_bytes(100);
  CHECK(fault_of_head(at - 8) == fault::head_out_of_range);
  CHECK(fault_of_head(0) == fault::head_out_of_range);
  CHECK(fault_of_head(at + capacity + 8) == fault::head_out_of_range);
  CHECK(fault_of_head(at + 0x8000'0000) == fault::head_out_of_range);
  CHECK(fault_of_head(at + 4) == fault::head_misaligned);
  pair both;
  *both.ring.head = 12;
  CHECK(!both.in.refresh());
  *both.ring.head = 0;
  CHECK(!both.in.refresh());
  CHECK(both.in.broken() == fault::head_misaligned);
}

TEST("a head that crawls on without its records being taken never gets past the mapping") {
  pair both;
  CHECK(send(both.out, 8, 1));
  CHECK(both.in.refresh());
  // The peer moves head and this side's tail together, so that only this side's own position can notice.
  *both.ring.head = capacity + 8;
  *both.ring.tail = 8;
  CHECK(!both.in.refresh());
  CHECK(both.in.broken() == fault::head_out_of_range);
}

TEST("a tail that runs backwards, past the head, or off a record boundary is a fault, and sticks") {
  CHECK(fault_of_tail(0) == fault::tail_out_of_range);
  CHECK(fault_of_tail(1000) == fault::tail_out_of_range);
  CHECK(fault_of_tail(20'000) == fault::tail_out_of_range);
  CHECK(fault_of_tail(0x8000'0000) == fault::tail_out_of_range);
  CHECK(fault_of_tail(1012) == fault::tail_misaligned);
  pair both;
  while (send(both.out, 1000, 1)) {}
  *both.ring.tail = 3;
  CHECK(!send(both.out, 1000, 1));
  *both.ring.tail = 1008;
  CHECK(!send(both.out, 8, 1));
  CHECK(both.out.broken() == fault::tail_misaligned);
}

TEST("a length beyond what was published is a fault; flag bits are not part of the length") {
  CHECK(fault_of_length(105) == fault::record_out_of_range); // one unit more than the 104 that were published
  CHECK(fault_of_length(0x3fff'ffff) == fault::record_out_of_range);
  CHECK(fault_of_length(0xffff'ffff) == fault::record_out_of_range);
  CHECK(fault_of_length(0xc000'0069) == fault::record_out_of_range);
  pair both;
  std::byte* const payload = both.out.try_claim(20);
  fill(payload, 20, 9);
  both.out.publish(0xc000'0014, 9);
  CHECK(both.receive(20, 9));
}

TEST("random words in place of positions and headers never lead outside the ring") {
  check::random random{2};
  u32 faults = 0;
  for (u32 round = 0; round < 20'000; ++round) {
    static pair one;
    const u32 start = random.below(1u << 29) * 8;
    one.in = consumer{one.ring, start};
    *one.ring.tail = random.below(4) == 0 ? static_cast<u32>(random.next()) : start;
    *one.ring.head = start + (random.below(4) == 0 ? static_cast<u32>(random.next()) : random.below(capacity / 8 + 2) * 8);
    for (u32 i = 0; i < capacity; i += 8) {
      const u64 header = random.next() >> (random.below(3) * 10);
      std::memcpy(one.ring.data + i, &header, 8);
    }
    (void)one.in.refresh();
    u32 sum = 0;
    for (record found{}; one.in.take(found);) {
      CHECK(found.offset >= 8 && found.offset < capacity + 8);
      CHECK(found.offset + found.length() <= 2 * capacity);
      if (found.length() > 0) sum += static_cast<u32>(one.in.payload(found)[found.length() - 1]);
    }
    *one.ring.head = sum; // keeps the reads
    faults += one.in.broken() != fault::none;
  }
  CHECK(faults > 1000 && faults < 20'000);
}

TEST("data and control lanes of both directions are separate rings") {
  const segment memory = new_segment(8192, 16384, 5);
  const endpoint server = view(memory, role::server);
  const endpoint client = view(memory, role::client);
  CHECK_EQ(server.data_in.capacity, 8192u);
  CHECK_EQ(server.data_out.capacity, 16384u);
  CHECK_EQ(server.own, client.peer);
  CHECK_EQ(server.peer, client.own);
  producer outs[4] = {producer{server.data_out}, producer{server.control_out}, producer{client.data_out},
                      producer{client.control_out}};
  consumer ins[4] = {consumer{client.data_in}, consumer{client.control_in}, consumer{server.data_in},
                     consumer{server.control_in}};
  for (u32 lap = 0; lap < 3; ++lap) {
    for (u32 i = 0; i < 4; ++i) {
      while (send(outs[i], 48, i)) {}
    }
    for (u32 i = 0; i < 4; ++i) {
      u32 count = 0;
      CHECK(ins[i].refresh());
      for (record found{}; ins[i].take(found); ++count) {
        CHECK_EQ(found.word1, i);
        CHECK(matches(ins[i].payload(found), 48, i));
      }
      CHECK(count == (i == 0 ? 16384u : i == 2 ? 8192u : server.control_out.capacity) / 56);
      ins[i].release_all();
    }
  }
}

TEST("a control record carries the data position that it follows") {
  const segment memory = new_segment();
  const endpoint client = view(memory, role::client);
  const endpoint server = view(memory, role::server);
  producer data{client.data_out};
  producer control{client.control_out};
  consumer data_in{server.data_in};
  consumer control_in{server.control_in};
  CHECK(send(data, 40, 1));
  const u32 position = data.head();
  std::byte* const payload = control.try_claim(spanwire::ring::control_prefix_bytes);
  const u32 prefix[2] = {position, 0};
  std::memcpy(payload, prefix, sizeof prefix);
  control.publish(sizeof prefix, 1);
  CHECK(send(data, 40, 2));

  record found{};
  CHECK(control_in.refresh());
  CHECK(control_in.take(found));
  u32 seen = 0;
  std::memcpy(&seen, control_in.payload(found), 4);
  CHECK(data_in.refresh());
  CHECK(data_in.take(found));
  CHECK_EQ(found.word1, 1u);
  CHECK_EQ(data_in.position(), seen);
}

TEST("control blocks of neighbouring clients start at different lines, all inside the page") {
  for (u32 index = 0; index < 100; ++index) {
    const u32 offset = spanwire::ring::staggered_control_offset(index);
    CHECK(offset >= 128 && offset + sizeof(spanwire::ring::control_block) <= 4096);
    CHECK(offset != spanwire::ring::staggered_control_offset(index + 1));
  }
}

TEST("one load shows whether either lane moved") {
  const segment memory = new_segment();
  const endpoint server = view(memory, role::server);
  const endpoint client = view(memory, role::client);
  const u64 before = spanwire::ring::load_both_heads(*server.heads_in);
  producer control{client.control_out};
  CHECK(send(control, 0, 1));
  const u64 after_control = spanwire::ring::load_both_heads(*server.heads_in);
  CHECK(after_control != before);
  producer data{client.data_out};
  CHECK(send(data, 0, 1));
  CHECK(spanwire::ring::load_both_heads(*server.heads_in) != after_control);
}
