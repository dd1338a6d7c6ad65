// The ring of the Barretenberg layout, alone: what was observed of the original, every place where a message can wrap,
// and peers that lie.
#include "../native/barretenberg/ring.hpp"

#include <deque>
#include <memory>

#include "support.hpp"

namespace {

using namespace spanwire::barretenberg;

// A ring in memory of this process. The data has exactly its size, so that the sanitizer sees every byte too far.
struct ring_under_test {
  explicit ring_under_test(u64 capacity, u64 position = 0) : data{new std::byte[capacity]}, memory{&header, data.get(), capacity} {
    write_header(header, capacity);
    header.head = header.tail = position;
  }

  ring_header header{};
  std::unique_ptr<std::byte[]> data;
  ring_memory memory;
};

bool send(producer& out, u32 length, u32 number) {
  std::byte* const payload = out.try_claim(length);
  if (payload == nullptr) return false;
  support::fill(payload, length, number);
  out.publish();
  return true;
}

void expect(consumer& in, u32 length, u32 number) {
  message got{};
  CHECK(in.refresh());
  CHECK(in.take(got));
  CHECK_EQ(got.length, length);
  CHECK(support::matches(got.payload, length, number));
}

TEST("barretenberg ring: a wrap leaves the positions that the original leaves") {
  ring_under_test ring{4096};
  producer out{ring.memory};
  consumer in{ring.memory};
  for (u32 i = 0; i < 141; ++i) {
    CHECK(send(out, 25, i)); // 29 bytes each with its length
    expect(in, 25, i);
    in.release();
  }
  CHECK_EQ(ring.header.head, 0xff9u);
  CHECK_EQ(ring.header.wrap_head, never_wrapped);
  CHECK(send(out, 25, 141));
  CHECK_EQ(ring.header.wrap_head, 0xff9u);
  CHECK_EQ(ring.header.head, 0x1000u + 29);
  u32 first = 0;
  std::memcpy(&first, ring.data.get(), sizeof first);
  CHECK_EQ(first, 25u);
  expect(in, 25, 141);
  in.release();
  CHECK_EQ(ring.header.tail, 0x1000u + 29);
}

TEST("barretenberg ring: a message that ends exactly at the end skips nothing") {
  ring_under_test ring{1024, 1024 - 29};
  producer out{ring.memory};
  consumer in{ring.memory};
  CHECK(send(out, 25, 1));
  CHECK_EQ(ring.header.head, 1024u);
  CHECK(send(out, 25, 2));
  CHECK_EQ(ring.header.wrap_head, never_wrapped);
  expect(in, 25, 1);
  expect(in, 25, 2);
}

TEST("barretenberg ring: messages of every size that matters pass at every offset") {
  constexpr u64 capacity = 1024;
  for (u64 offset = 0; offset < capacity; ++offset) {
    for (const u32 length : {0u, 1u, 3u, 4u, 5u, 25u, 60u, 255u, 256u, 507u, 508u}) {
      // Far enough for a skip of an earlier lap to be remembered, and beyond 32 bits.
      const u64 position = (u64{7} << 32) + offset;
      ring_under_test ring{capacity, position};
      producer out{ring.memory};
      consumer in{ring.memory};
      CHECK(send(out, length, length));
      expect(in, length, length);
      in.release();
      CHECK_EQ(ring.header.tail, ring.header.head);
      CHECK(send(out, 3, 7));
      expect(in, 3, 7);
      CHECK(!in.refresh());
      CHECK_EQ(in.broken(), fault::none);
    }
  }
}

TEST("barretenberg ring: the largest message fits an empty ring at every offset, and one byte more never") {
  constexpr u64 capacity = 1024;
  for (u64 offset = 0; offset < capacity; ++offset) {
    ring_under_test ring{capacity, offset};
    producer out{ring.memory};
    CHECK_EQ(out.largest_payload(), 508u);
    CHECK(out.try_claim(509) == nullptr);
    CHECK(out.room_for(508));
    CHECK(out.try_claim(508) != nullptr);
  }
}

TEST("barretenberg ring: a claim that is refused has room exactly when `room_for` says so") {
  check::random random{11};
  ring_under_test ring{1024};
  producer out{ring.memory};
  consumer in{ring.memory};
  for (u32 i = 0; i < 50'000; ++i) {
    const u32 length = random.below(509);
    const bool room = out.room_for(length);
    CHECK_EQ(send(out, length, i), room);
    message got{};
    if (random.below(2) == 0 && in.refresh() && in.take(got)) in.release();
  }
}

TEST("barretenberg ring: random traffic arrives complete and in order") {
  for (const u64 capacity : {1024u, 4096u, 65536u}) {
    check::random random{capacity};
    ring_under_test ring{capacity, random.below(1u << 20)};
    producer out{ring.memory};
    consumer in{ring.memory};
    std::deque<u32> lengths;
    u32 sent = 0;
    u32 received = 0;
    while (received < 100'000) {
      const u32 largest = static_cast<u32>(out.largest_payload());
      const u32 length = random.below(4) == 0 ? random.below(largest + 1) : random.below(40);
      if (random.below(2) == 0 && send(out, length, sent)) {
        lengths.push_back(length);
        ++sent;
      } else if (in.refresh()) {
        expect(in, lengths.front(), received);
        lengths.pop_front();
        ++received;
        if (random.below(3) == 0) in.release();
      } else {
        in.release();
      }
    }
    CHECK_EQ(out.broken(), fault::none);
  }
}

TEST("barretenberg ring: both sides go on where the ring stands") {
  ring_under_test ring{1024};
  {
    producer out{ring.memory};
    consumer in{ring.memory};
    for (u32 i = 0; i < 1000; ++i) {
      CHECK(send(out, 100, i));
      expect(in, 100, i);
      in.release();
    }
    CHECK(send(out, 200, 1));
  }
  producer out{ring.memory};
  consumer in{ring.memory};
  CHECK(send(out, 300, 2));
  expect(in, 200, 1);
  expect(in, 300, 2);
}

TEST("barretenberg ring: peek leaves the message, and discard leaves nothing") {
  ring_under_test ring{1024, 1000};
  producer out{ring.memory};
  consumer in{ring.memory};
  CHECK(send(out, 100, 1)); // wraps
  message got{};
  CHECK(in.refresh());
  CHECK(in.peek(got) && in.peek(got));
  CHECK_EQ(got.length, 100u);
  CHECK(send(out, 50, 2));
  in.discard();
  CHECK(!in.refresh());
  CHECK(out.drained());
  CHECK(send(out, 50, 3));
  expect(in, 50, 3);
}

TEST("barretenberg ring: a head that cannot be true is a fault, and sticks") {
  for (const u64 lie : {u64{2000}, u64{100} + 1025, u64{99}, u64{0}, ~u64{0}}) {
    ring_under_test ring{1024, 100};
    consumer in{ring.memory};
    ring.header.head = lie;
    CHECK(!in.refresh());
    CHECK_EQ(in.broken(), fault::head_out_of_range);
    ring.header.head = 104;
    CHECK(!in.refresh());
  }
}

TEST("barretenberg ring: a tail that cannot be true is a fault, and sticks") {
  for (const u64 lie : {u64{99}, u64{0}, u64{2000}, ~u64{0}}) {
    ring_under_test ring{1024, 100};
    producer out{ring.memory};
    CHECK(send(out, 500, 1));
    ring.header.tail = lie;
    CHECK(!send(out, 500, 2)); // needs to look
    CHECK_EQ(out.broken(), fault::tail_out_of_range);
    ring.header.tail = ring.header.head;
    CHECK(out.try_claim(1) == nullptr);
  }
}

TEST("barretenberg ring: a message longer than what was published is a fault") {
  for (const u32 lie : {26u, 509u, 1020u, 0x7fff'ffffu, 0xffff'ffffu}) {
    ring_under_test ring{1024, 100};
    producer out{ring.memory};
    consumer in{ring.memory};
    CHECK(send(out, 25, 1));
    std::memcpy(ring.data.get() + 100, &lie, sizeof lie);
    message got{};
    CHECK(in.refresh());
    CHECK(!in.take(got));
    CHECK_EQ(in.broken(), fault::message_out_of_range);
  }
}

TEST("barretenberg ring: a message across the end is a fault, also its length") {
  for (const u64 offset : {u64{1000}, u64{1021}, u64{1023}}) {
    ring_under_test ring{1024, offset};
    consumer in{ring.memory};
    const u32 length = 60;
    for (u64 i = 0; i < 4; ++i) {
      ring.data[(offset + i) % 1024] = reinterpret_cast<const std::byte*>(&length)[i];
    }
    ring.header.head = offset + 64; // nothing says that it wrapped
    message got{};
    CHECK(in.refresh());
    CHECK(!in.take(got));
    CHECK_EQ(in.broken(), fault::message_out_of_range);
  }
}

TEST("barretenberg ring: a wrap beyond what was published is a fault") {
  ring_under_test ring{1024, 100};
  consumer in{ring.memory};
  ring.header.wrap_head = 100;
  ring.header.head = 200;
  CHECK(!in.refresh());
  CHECK_EQ(in.broken(), fault::wrap_out_of_range);
}

TEST("barretenberg ring: garbage in every shared word never leads out of the ring") {
  check::random random{99};
  for (u32 round = 0; round < 200'000; ++round) {
    constexpr u64 capacity = 1024;
    ring_under_test ring{capacity, random.below(4096)};
    producer out{ring.memory};
    consumer in{ring.memory};
    for (u32 i = 0; i < 1 + random.below(4); ++i) (void)send(out, random.below(509), i);
    for (u32 i = 0; i < 16; ++i) {
      switch (random.below(6)) {
        case 0: ring.header.head = random.below(8) == 0 ? random.next() : ring.header.head + random.below(2048) - 1024; break;
        case 1: ring.header.tail = random.below(8) == 0 ? random.next() : ring.header.tail + random.below(2048) - 1024; break;
        case 2: ring.header.wrap_head = random.below(2) == 0 ? in.position() : random.next(); break;
        case 3: ring.data[random.below(capacity)] = static_cast<std::byte>(random.next()); break;
        case 4: (void)send(out, random.below(509), i); break;
        default: {
          message got{};
          if (in.refresh() && in.take(got)) {
            CHECK(got.payload >= ring.data.get());
            CHECK(got.payload + got.length <= ring.data.get() + capacity);
            in.release();
          }
        }
      }
    }
  }
}

} // namespace
