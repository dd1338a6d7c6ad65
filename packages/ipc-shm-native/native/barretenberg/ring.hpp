// One ring of this layout, with one producer and one consumer. No system call, no lock, no waiting: full and empty are
// results. `layout.hpp` has the picture.
//
// The peer is not trusted. A position or a length is loaded once, checked against what this side knows by itself, and
// only then used; one that cannot be true is a fault, which sticks. Memory outside the ring is never touched.
//
// The waiting flags are a store/load handshake (each side stores one word and then loads the other's), so everything
// here is sequentially consistent. The published binaries have no fence between their store and their load: who sleeps
// on what they publish looks once more a moment after it announced that (see wire.cpp).
#pragma once

#include <atomic>

#include "layout.hpp"

namespace spanwire::barretenberg {

static_assert(std::atomic_ref<u64>::is_always_lock_free && std::atomic_ref<u64>::required_alignment == 8);
static_assert(std::atomic_ref<u32>::is_always_lock_free);

template <typename T>
[[nodiscard]] inline T load(T& word) noexcept {
  return std::atomic_ref(word).load(std::memory_order_seq_cst);
}
template <typename T>
[[nodiscard]] inline T load_relaxed(T& word) noexcept {
  return std::atomic_ref(word).load(std::memory_order_relaxed);
}
template <typename T>
inline void store(T& word, T value) noexcept {
  std::atomic_ref(word).store(value, std::memory_order_seq_cst);
}
template <typename T>
inline void store_relaxed(T& word, T value) noexcept {
  std::atomic_ref(word).store(value, std::memory_order_relaxed);
}

// The half of a position that threads sleep on.
[[nodiscard]] inline u32& futex_word(u64& position) noexcept {
  return *reinterpret_cast<u32*>(&position);
}

// Where one ring lives in this process. The capacity was checked when it was mapped and is not read again.
struct ring_memory {
  ring_header* header;
  std::byte* data;
  u64 capacity;
};

// Fills the header of a new ring. Fresh memory is zero, which is the right start of all the rest.
inline void write_header(ring_header& header, u64 capacity) noexcept {
  header.wrap_head = never_wrapped;
  header.capacity = capacity;
  header.mask = capacity - 1;
}

// The writing side. Claim, fill, publish; or claim and forget. One claim is open at a time.
class producer {
 public:
  // Goes on where the ring stands: who wrote it before may be another process.
  explicit producer(const ring_memory& memory) noexcept
      : memory_{memory}, head_{load(memory.header->head)}, seen_tail_{head_} {
    const u64 tail = load(memory.header->tail);
    if (head_ - tail > memory.capacity) {
      fault_ = fault::tail_out_of_range;
    } else {
      seen_tail_ = tail;
    }
  }

  // Room for a payload of that many bytes, or null: no room now, or a fault (see `broken`). A payload larger than
  // `largest_payload` never fits.
  [[nodiscard]] std::byte* try_claim(u64 payload_bytes) noexcept {
    if (payload_bytes > largest_payload()) return nullptr;
    const u64 offset = head_ & (memory_.capacity - 1);
    const u64 needed = length_bytes + payload_bytes;
    const u64 to_end = memory_.capacity - offset;
    skipped_ = needed > to_end ? to_end : 0;
    if (!has_room(skipped_ + needed)) return nullptr;
    claimed_ = needed;
    return message() + length_bytes;
  }

  // Shows the claimed message to the peer. The caller then asks `consumer_waits`.
  void publish() noexcept {
    const u32 length = static_cast<u32>(claimed_ - length_bytes);
    __builtin_memcpy(message(), &length, sizeof length);
    // Right before the head: a consumer that is at this position sees both, or neither for long.
    if (skipped_ != 0) store_relaxed(memory_.header->wrap_head, head_);
    head_ += skipped_ + claimed_;
    store(memory_.header->head, head_); // partner: consumer::refresh in the peer
  }

  // Whether a claim of that payload would be granted now.
  [[nodiscard]] bool room_for(u64 payload_bytes) noexcept {
    const u64 needed = length_bytes + payload_bytes;
    const u64 to_end = memory_.capacity - (head_ & (memory_.capacity - 1));
    return has_room(needed > to_end ? to_end + needed : needed);
  }

  // Whether everything that was written has been read.
  [[nodiscard]] bool drained() noexcept { return refresh_tail() && seen_tail_ == head_; }

  [[nodiscard]] bool consumer_waits() noexcept { return load(memory_.header->consumer_waits) != 0; }
  [[nodiscard]] u64 largest_payload() const noexcept { return largest_payload_of(memory_.capacity); }
  // What the tail looked like to the last claim: to sleep on when it found no room.
  [[nodiscard]] u64 seen_tail() const noexcept { return seen_tail_; }
  [[nodiscard]] ring_header& header() const noexcept { return *memory_.header; }
  [[nodiscard]] fault broken() const noexcept { return fault_; }

 private:
  [[nodiscard]] std::byte* message() const noexcept {
    return memory_.data + ((head_ + skipped_) & (memory_.capacity - 1));
  }

  [[nodiscard]] bool has_room(u64 bytes) noexcept {
    if (fault_ == fault::none && memory_.capacity - (head_ - seen_tail_) >= bytes) return true;
    return refresh_tail() && memory_.capacity - (head_ - seen_tail_) >= bytes;
  }

  // The head is this side's own; only the tail comes from the peer. It may lie between what was seen and the head.
  bool refresh_tail() noexcept {
    if (fault_ != fault::none) return false;
    const u64 tail = load(memory_.header->tail); // partner: consumer::release in the peer
    if (tail - seen_tail_ > head_ - seen_tail_) {
      fault_ = fault::tail_out_of_range;
      return false;
    }
    seen_tail_ = tail;
    return true;
  }

  ring_memory memory_;
  u64 head_;
  u64 seen_tail_; // the peer's line is read only when this says full
  u64 skipped_ = 0;
  u64 claimed_ = 0;
  fault fault_ = fault::none;
};

// One message, as read. It stays in the ring until it is released.
struct message {
  const std::byte* payload;
  u32 length;
};

// The reading side.
class consumer {
 public:
  explicit consumer(const ring_memory& memory) noexcept
      : memory_{memory}, position_{load(memory.header->tail)}, seen_head_{position_} {}

  // Looks for news. Whether there is a message to take; false also after a fault.
  [[nodiscard]] bool refresh() noexcept {
    if (seen_head_ != position_) return true;
    if (fault_ != fault::none) return false;
    const u64 head = load(memory_.header->head); // partner: producer::publish in the peer
    if (head == seen_head_) return false;
    // This alone keeps every message inside the ring; a head that runs backwards is far ahead of the position.
    if (head - position_ > memory_.capacity) return fail(fault::head_out_of_range);
    seen_head_ = head;
    return skip_to_start();
  }

  // The next of those that `refresh` found. False when there is none, or after a fault.
  [[nodiscard]] bool take(message& out) noexcept {
    if (!peek(out)) return false;
    position_ += length_bytes + out.length;
    return true;
  }

  // As `take`, but the message stays the next one.
  [[nodiscard]] bool peek(message& out) noexcept {
    if (seen_head_ == position_ || !skip_to_start()) return false;
    const u64 available = seen_head_ - position_;
    const u64 offset = position_ & (memory_.capacity - 1);
    const u64 to_end = memory_.capacity - offset;
    const u64 contiguous = available < to_end ? available : to_end;
    if (contiguous < length_bytes) return fail(fault::message_out_of_range);
    const std::byte* const at = memory_.data + offset;
    const u32 length = load_length(at);
    if (length > contiguous - length_bytes) return fail(fault::message_out_of_range);
    out = {at + length_bytes, length};
    return true;
  }

  // Gives back everything that was taken. The caller then asks `producer_waits`.
  void release() noexcept {
    store(memory_.header->tail, position_); // partner: producer::refresh_tail in the peer
  }

  // Takes and gives back whatever is there, unread.
  void discard() noexcept {
    const u64 head = load(memory_.header->head);
    if (head - position_ > memory_.capacity) {
      (void)fail(fault::head_out_of_range);
      return;
    }
    position_ = seen_head_ = head;
    release();
  }

  // Bytes that wait, as the peer has it now.
  [[nodiscard]] u64 unread() noexcept { return load(memory_.header->head) - position_; }
  [[nodiscard]] u64 capacity() const noexcept { return memory_.capacity; }
  [[nodiscard]] bool producer_waits() noexcept { return load(memory_.header->producer_waits) != 0; }
  // Of what was looked at: to sleep on when there was nothing.
  [[nodiscard]] u64 seen_head() const noexcept { return seen_head_; }
  [[nodiscard]] u64 position() const noexcept { return position_; }
  [[nodiscard]] ring_header& header() const noexcept { return *memory_.header; }
  [[nodiscard]] fault broken() const noexcept { return fault_; }

 private:
  // Whether there is something to read once the bytes before the end, if they are to be skipped, are behind.
  [[nodiscard]] bool skip_to_start() noexcept {
    // Ordered by the head: a producer sets it before. It belongs to this lap or to one that is behind, since the next
    // wrap needs the room that this side has yet to give back.
    if (load_relaxed(memory_.header->wrap_head) == position_) {
      const u64 skipped = memory_.capacity - (position_ & (memory_.capacity - 1));
      if (skipped > seen_head_ - position_) return fail(fault::wrap_out_of_range);
      position_ += skipped;
    }
    return seen_head_ != position_;
  }

  // Loaded once, though it is not aligned.
  [[nodiscard]] static u32 load_length(const std::byte* at) noexcept {
    u32 value = 0;
    for (unsigned i = 0; i < length_bytes; ++i) {
      value |= u32{*reinterpret_cast<const volatile u8*>(at + i)} << (8 * i);
    }
    return value;
  }

  bool fail(fault value) noexcept {
    fault_ = value;
    seen_head_ = position_; // nothing more is taken
    return false;
  }

  ring_memory memory_;
  u64 position_;
  u64 seen_head_;
  fault fault_ = fault::none;
};

} // namespace spanwire::barretenberg
