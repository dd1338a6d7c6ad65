// A ring of bytes with one producer and one consumer, in memory that both map. It makes no system call, takes no lock
// and never waits: full and empty are results.
//
// Positions count bytes since the ring was created, modulo 2^32. The capacity is a power of two, so `position & mask`
// is an offset at any time, also after the count wrapped. The data area is mapped twice, so a record is contiguous.
//
// The peer is not trusted. A position or a length is loaded once, checked against what this side knows by itself, and
// only then used; one that cannot be true is a fault, which sticks. Memory outside the ring is never touched.
#pragma once

#include "words.hpp"

namespace spanwire::ring {

// What a peer did that no correct peer does.
enum class fault : u8 {
  none,
  head_out_of_range,   // the head ran backwards, or further than the capacity
  head_misaligned,     // the head is not at a record boundary
  tail_out_of_range,   // the tail ran backwards, or past the head
  tail_misaligned,     // the tail is not at a record boundary
  record_out_of_range, // the record is longer than what was published
};

[[nodiscard]] constexpr const char* describe(fault value) noexcept {
  switch (value) {
    case fault::none: return "none";
    case fault::head_out_of_range: return "head out of range";
    case fault::head_misaligned: return "head misaligned";
    case fault::tail_out_of_range: return "tail out of range";
    case fault::tail_misaligned: return "tail misaligned";
    case fault::record_out_of_range: return "record longer than what was published";
  }
  return "unknown";
}

// Where one ring lives in this process. `data` is mapped twice: data[i] and data[i + capacity] are the same byte.
struct ring_memory {
  std::byte* data;
  u32 capacity;
  u32* head;
  u32* tail;
};

// The writing side. Claim, fill, publish; or claim and abort. One claim is open at a time.
class producer {
 public:
  explicit producer(const ring_memory& memory, u32 position = 0) noexcept
      : memory_{memory}, head_{position}, seen_tail_{position} {}

  // Room for a payload of that many bytes, aligned to 8, or null: no room now, or a fault (see `broken`).
  // A payload larger than `largest_payload` never fits.
  [[nodiscard]] std::byte* try_claim(u32 payload_bytes) noexcept {
    if (payload_bytes > largest_payload()) return nullptr;
    const u32 needed = record_bytes(payload_bytes);
    if (memory_.capacity - (head_ - seen_tail_) < needed) {
      if (!refresh_tail() || memory_.capacity - (head_ - seen_tail_) < needed) return nullptr;
    }
    claimed_ = needed;
    return record() + record_header_bytes;
  }

  // Completes the claim without showing it to the peer yet: a batch is made visible at once by `flush`. `length` is
  // the claimed payload length, with the flags of the protocol in bits 30 and 31.
  void commit(u32 length, u32 word1) noexcept {
    u32* const words = reinterpret_cast<u32*>(record());
    // Atomic for the sake of a hostile reader; ordered by publish_position. Partner: consumer::take in the peer.
    store_relaxed(words[0], length);
    store_relaxed(words[1], word1);
    head_ += claimed_;
    claimed_ = 0;
  }

  // Shows every committed record to the peer. The caller then asks `peer_waits`.
  void flush() noexcept {
    publish_position(*memory_.head, head_); // partner: consumer::refresh in the peer; announce_sleep in the peer
  }

  void publish(u32 length, u32 word1) noexcept {
    commit(length, word1);
    flush();
  }

  // Nothing was shown to the peer, so there is nothing to undo.
  void abort() noexcept { claimed_ = 0; }

  // Whether the peer has released everything up to `position`.
  [[nodiscard]] bool released(u32 position) noexcept {
    return refresh_tail() && static_cast<std::int32_t>(seen_tail_ - position) >= 0;
  }

  [[nodiscard]] u32 largest_payload() const noexcept { return memory_.capacity - record_header_bytes; }
  [[nodiscard]] u32 head() const noexcept { return head_; }
  [[nodiscard]] fault broken() const noexcept { return fault_; }

 private:
  [[nodiscard]] std::byte* record() const noexcept { return memory_.data + (head_ & (memory_.capacity - 1)); }

  // The head is this side's own; only the tail comes from the peer. It may lie between what was seen and the head.
  bool refresh_tail() noexcept {
    if (fault_ != fault::none) return false;
    const u32 tail = load_position(*memory_.tail); // partner: consumer::release in the peer
    if (tail - seen_tail_ > head_ - seen_tail_) {
      fault_ = fault::tail_out_of_range;
    } else if (tail % record_alignment != 0) {
      fault_ = fault::tail_misaligned;
    } else {
      seen_tail_ = tail;
      return true;
    }
    seen_tail_ = head_ - memory_.capacity; // full for ever
    return false;
  }

  ring_memory memory_;
  u32 head_;
  u32 seen_tail_; // the peer's line is read only when this says full
  u32 claimed_ = 0;
  fault fault_ = fault::none;
};

// One record, as read. The header words were loaded once; the payload stays in the ring until it is released.
struct record {
  u32 offset; // of the payload, from the start of the ring's data; offset + length may reach into the mirror
  u32 word0;
  u32 word1;

  [[nodiscard]] u32 length() const noexcept { return word0 & record_length_mask; }
};

// The reading side. Taking a record and releasing its bytes are separate, so records can be held, and the holder
// decides the order of release: `release` takes the position up to which everything is given back.
class consumer {
 public:
  explicit consumer(const ring_memory& memory, u32 position = 0) noexcept
      : memory_{memory}, position_{position}, seen_head_{position} {}

  // Looks for news. Whether there is a record to take; false also after a fault.
  [[nodiscard]] bool refresh() noexcept {
    const u32 head = load_position(*memory_.head); // partner: producer::flush in the peer
    if (head == seen_head_) return seen_head_ != position_;
    return accept_head(head);
  }

  // The next record of those that `refresh` found. False when there is none, or after a fault.
  [[nodiscard]] bool take(record& out) noexcept {
    const u32 available = seen_head_ - position_;
    if (available == 0) return false;
    const u32 start = position_ & (memory_.capacity - 1);
    // With the header's line on its way comes the one behind it: the payload is read next, and most records lie in two.
    __builtin_prefetch(memory_.data + start + 64);
    u32* const words = reinterpret_cast<u32*>(memory_.data + start);
    // Loaded once. Partner: producer::commit in the peer, ordered by flush and refresh.
    const u32 word0 = load_relaxed(words[0]);
    const u32 word1 = load_relaxed(words[1]);
    // The length is below 2^30, so this cannot overflow; `available` is a multiple of 8, so a header always fits.
    const u32 size = record_bytes(word0 & record_length_mask);
    if (size > available) return fail(fault::record_out_of_range);
    out = {start + record_header_bytes, word0, word1};
    position_ += size;
    return true;
  }

  // Gives back everything before `position`. The caller then asks `peer_waits` for the peer's space flag.
  void release(u32 position) noexcept {
    publish_position(*memory_.tail, position); // partner: producer::refresh_tail in the peer; announce_sleep in the peer
  }
  void release_all() noexcept { release(position_); }

  // Whether the peer published more than was taken: the re-check after announce_sleep.
  [[nodiscard]] bool has_news() noexcept {
    return load_position(*memory_.head) != position_; // partner: producer::flush in the peer
  }

  [[nodiscard]] const std::byte* payload(const record& value) const noexcept { return memory_.data + value.offset; }
  [[nodiscard]] u32 position() const noexcept { return position_; } // of the next record to take
  [[nodiscard]] fault broken() const noexcept { return fault_; }

 private:
  bool accept_head(u32 head) noexcept {
    if (fault_ != fault::none) return false;
    // Between what was seen and what the capacity allows: this alone keeps every record inside the mapping.
    const u32 available = head - position_;
    if (available < seen_head_ - position_ || available > memory_.capacity) return fail(fault::head_out_of_range);
    // Held records count as well. The tail is this side's word, but a peer that scribbles on it only fails itself here.
    if (head - load_relaxed(*memory_.tail) > memory_.capacity) return fail(fault::head_out_of_range);
    if (head % record_alignment != 0) return fail(fault::head_misaligned);
    seen_head_ = head;
    return true;
  }

  bool fail(fault value) noexcept {
    fault_ = value;
    seen_head_ = position_; // nothing more is taken
    return false;
  }

  ring_memory memory_;
  u32 position_;
  u32 seen_head_;
  fault fault_ = fault::none;
};

} // namespace spanwire::ring
