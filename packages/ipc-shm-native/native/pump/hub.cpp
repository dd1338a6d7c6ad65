#include "hub.hpp"

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>

#include "../platform/doorbell.hpp"

namespace spanwire::pump {

using platform::failure;
using platform::result;

namespace {

constexpr u32 listener_tag = 0xffff'ffff;
constexpr u32 accepts_per_look = 64;

// Every cold channel is glanced at once in this many passes.
constexpr u32 passes_per_scan = 64;
constexpr u32 least_glances = 8;

// A hot channel that was silent for so many passes while others were busy turns cold.
constexpr u32 idle_passes = 4096;
constexpr u32 passes_between_evictions = 256;

// The clock and the CPU are looked at once in this many steps of spinning.
constexpr u32 steps_per_check = 16;
// A peer that is seen on this CPU so many checks in a row, each after a yield, is there to stay.
constexpr u32 checks_before_move = 3;
constexpr std::int64_t least_ns_between_moves = 10'000'000;
// What a peer that was asleep needs to answer: who sleeps meanwhile has to be woken as well, which takes as long again.
constexpr std::int64_t wake_up_ns = 150'000;
// Where that did not pay it is tried again once in so many times.
constexpr u32 wakes_between_trials = 16;

// A thread that is never without messages still looks at its sockets once in this many batches.
constexpr u32 waits_between_looks = 256;

static_assert(std::endian::native == std::endian::little);

// As load_both_heads has them.
constexpr u64 join_heads(u32 data, u32 control) noexcept {
  return u64{control} << 32 | data;
}

constexpr std::size_t index_of(lane which) noexcept {
  return static_cast<std::size_t>(which);
}

} // namespace

hub::hub(const settings& wanted, platform::poller poller) : settings_{wanted}, poller_{std::move(poller)} {}

hub::~hub() {
  remove_all();
}

result<std::unique_ptr<hub>> hub::create(const settings& wanted) {
  auto poller = platform::poller::create();
  if (!poller) return poller.error();
  return std::unique_ptr<hub>{new hub{wanted, std::move(*poller)}};
}

// ---- connections ----

result<void> hub::listen(platform::listener listener) {
  if (auto added = poller_.add(listener.descriptor(), listener_tag); !added) return added;
  listener_.emplace(std::move(listener));
  return {};
}

void hub::stop_listening() noexcept {
  if (!listener_) return;
  poller_.remove(listener_->descriptor());
  listener_.reset();
}

result<u32> hub::adopt(platform::unique_descriptor socket) {
  u32 slot = static_cast<u32>(channels_.size());
  if (!free_slots_.empty()) {
    slot = free_slots_.back();
    free_slots_.pop_back();
  } else {
    channels_.emplace_back();
  }
  if (auto added = poller_.add(socket.get(), slot); !added) {
    free_slots_.push_back(slot);
    return added.error();
  }
  channels_[slot] = std::make_unique<channel>(slot, std::move(socket));
  ++channel_count_;
  return slot;
}

result<void> hub::send_handshake(u32 slot, std::span<const std::byte> bytes, bool with_memory) {
  channel& to = *find(slot);
  const int descriptor = with_memory && to.segment ? to.segment->object.get() : -1;
  auto sent = platform::send_message(to.socket.get(), bytes, descriptor);
  if (sent && descriptor >= 0) to.segment->object.reset();
  return sent;
}

result<platform::received> hub::receive_handshake(u32 slot, std::span<std::byte> into, bool expect_memory) {
  channel& from = *find(slot);
  auto got = platform::receive_message(from.socket.get(), into, expect_memory);
  if (!got) return got;
  if (got->descriptor) from.received_memory = std::move(got->descriptor);
  return got;
}

result<void> hub::create_memory(u32 slot, u32 request_bytes, u32 response_bytes, platform::reserve_function reserve) {
  auto made = platform::create_segment({slot, request_bytes, response_bytes, reserve});
  if (!made) return made.error();
  find(slot)->segment = std::make_shared<platform::segment>(std::move(*made));
  return {};
}

result<void> hub::open_memory(u32 slot) {
  channel& at = *find(slot);
  if (!at.received_memory) return failure{"no memory was received", 0, failure::kind::protocol};
  auto opened = platform::open_segment(std::move(at.received_memory));
  if (!opened) return opened.error();
  opened->object.reset();
  at.segment = std::make_shared<platform::segment>(std::move(*opened));
  return {};
}

void hub::go_live(u32 slot, ring::role side) {
  channel& which = *find(slot);
  which.reading.emplace(ring::endpoint::of(which.segment->memory.base(), which.segment->where, side));
  which.state = channel_state::live;
  awaits_answers_ = side == ring::role::client;
  make_hot(which);
}

void hub::remove(u32 slot) noexcept {
  channel* const which = find(slot);
  if (which == nullptr) return;
  end(*which);
  if (which->segment) which->segment->memory.discard();
  channels_[slot].reset();
  retired_slots_.push_back(slot);
  --channel_count_;
}

void hub::remove_all() noexcept {
  for (u32 slot = 0; slot < channels_.size(); ++slot) remove(slot);
}

// ---- frames ----

u32 hub::collect(std::span<entry> out) {
  ++pass_;
  batch_begin_ = out.data();
  if (!retired_slots_.empty()) {
    free_slots_.insert(free_slots_.end(), retired_slots_.begin(), retired_slots_.end());
    retired_slots_.clear();
  }
  u32 count = 0;
  if (!events_.empty()) {
    count = static_cast<u32>(std::min(events_.size(), out.size()));
    std::copy_n(events_.begin(), count, out.begin());
    events_.erase(events_.begin(), events_.begin() + count);
  }
  if (!cold_.empty()) glance_at_cold();
  if (hot_.empty()) return count;

  // Everyone in turn, starting with another one each time, and nobody more than a fair share of the batch.
  const std::size_t most = hot_.size();
  const std::size_t share = std::max<std::size_t>(out.size() / most, 16);
  if (next_hot_ >= most) next_hot_ = 0;
  std::size_t at = next_hot_++;
  for (std::size_t visited = 0; visited < most && count < out.size() && at < hot_.size(); ++visited) {
    channel& from = *hot_[at];
    const u32 took = take_from(from, out.subspan(count, std::min(share, out.size() - count)));
    if (took > 0) {
      count += took;
      from.last_active_pass = pass_;
      if (woke_peer_) {
        woke_peer_ = false;
        wait_pays_ = wait_awake_;
      }
    }
    // A channel that is over left the list, and another one took its place.
    if (at < hot_.size() && hot_[at] == &from) ++at;
    if (at >= hot_.size()) at = 0;
  }

  if (hot_.size() > 1 && pass_ % passes_between_evictions == 0) {
    for (std::size_t i = hot_.size(); i-- > 0;) {
      channel& idle = *hot_[i];
      if (pass_ - idle.last_active_pass <= idle_passes) continue;
      announce(idle);
      settle(idle);
    }
  }
  return count;
}

u32 hub::take_from(channel& from, std::span<entry> out) {
  rings& in = *from.reading;
  if (in.control_released != in.control.position()) {
    in.control_released = in.control.position();
    in.control.release_all();
    // Partner: announce_sleep in the peer, which then looks at the tail once more.
    if (ring::peer_waits(in.end.peer->waiting_space)) ring(from.slot);
  }
  const bool wants_room = from.room[0].wanted || from.room[1].wanted;
  const u64 heads = ring::load_both_heads(*in.end.heads_in); // partner: producer::flush in the peer
  if (heads == in.seen_heads && !wants_room && !from.ended) return 0;

  u32 count = take_lane<lane::control>(from, in.control, out);
  if (from.state == channel_state::over) return count;
  if (!from.paused) count += take_lane<lane::data>(from, in.data, out.subspan(count));
  if (from.state == channel_state::over) return count;
  // With a full batch there may be more: then the next pass must look again. What was taken, and not `heads`: a peer
  // that moved them there and back must be found out.
  if (count < out.size()) {
    in.seen_heads = join_heads(from.paused ? static_cast<u32>(heads) : in.data.position(), in.control.position());
  }

  if (wants_room) {
    for (const lane which : {lane::data, lane::control}) {
      if (count == out.size() || !has_room(from, which)) continue;
      from.room[index_of(which)].wanted = false;
      out[count++] = {static_cast<std::int32_t>(from.slot) | event_bit, static_cast<std::int32_t>(event::room),
                      static_cast<std::int32_t>(which), 0};
    }
  }
  if (count == 0 && from.ended && !(from.paused && in.data.has_news())) {
    out[count++] = {static_cast<std::int32_t>(from.slot) | event_bit, static_cast<std::int32_t>(event::closed), 0, 0};
    end(from);
  }
  return count;
}

template <lane which>
u32 hub::take_lane(channel& from, ring::consumer& in, std::span<entry> out) {
  u32 count = 0;
  if (in.refresh()) {
    constexpr std::int32_t bits = which == lane::control ? control_lane : 0;
    const std::int32_t what = static_cast<std::int32_t>(from.slot) | bits;
    ring::record found;
    while (count < out.size() && in.take(found)) {
      if constexpr (which == lane::control) {
        if (found.length() < ring::control_prefix_bytes ||
            found.length() > ring::control_prefix_bytes + ring::max_control_payload_bytes) {
          violate(from, violation::control_size);
          return count;
        }
      }
      if constexpr (which == lane::data) copy_if_small(in, found, &out[count]);
      out[count++] = {what, static_cast<std::int32_t>(found.offset), static_cast<std::int32_t>(found.word0),
                      static_cast<std::int32_t>(found.word1)};
    }
  }
  if (in.broken() != ring::fault::none) [[unlikely]] {
    violate(from, which == lane::data ? violation::data_ring : violation::control_ring, in.broken());
  }
  return count;
}

void hub::copy_if_small(const ring::consumer& in, const ring::record& found, const entry* place_of) noexcept {
  const std::size_t at = static_cast<std::size_t>(place_of - batch_begin_) * copy_place_bytes;
  if (at < copies_.size() && found.length() <= copy_place_bytes) {
    std::memcpy(copies_.data() + at, in.payload(found), found.length());
  }
}

// A few per pass instead of all of them now and then: the same work, without the jolt.
void hub::glance_at_cold() {
  const std::size_t glances =
      std::min(cold_.size(), std::max<std::size_t>(least_glances, cold_.size() / passes_per_scan + 1));
  for (std::size_t i = 0; i < glances; ++i) {
    if (next_cold_ >= cold_.size()) {
      next_cold_ = 0;
      if (cold_.empty()) return;
    }
    const cold_entry& glanced = cold_[next_cold_];
    // Partner: producer::flush in the peer. Who wakes this hub for it is another question: see announce.
    if (ring::load_both_heads(*glanced.heads) != glanced.seen) {
      make_hot(*glanced.owner); // another one takes its place in the list
    } else {
      ++next_cold_;
    }
  }
}

bool hub::find_news() noexcept {
  if (awake()) return false;
  for (std::size_t i = cold_.size(); i-- > 0;) {
    // Partner: producer::flush in the peer.
    if (ring::load_both_heads(*cold_[i].heads) != cold_[i].seen) make_hot(*cold_[i].owner);
  }
  rings_unheard_ = !hot_.empty();
  return rings_unheard_;
}

void hub::ring(u32 slot) noexcept {
  channel* const which = find(slot);
  if (which == nullptr || !which->reading) return;
  ring::side_line& peer = *which->reading->end.peer;
  // Both: whoever wakes looks at everything. Partner: announce_sleep in the peer.
  const bool for_data = ring::take_duty_to_ring(peer.waiting_data);
  const bool for_space = ring::take_duty_to_ring(peer.waiting_space);
  if (for_data || for_space) platform::ring_doorbell(which->socket.get());
  if (for_data && awaits_answers_) {
    woke_peer_ = true;
    wait_awake_ = wait_pays_ || ++wakes_slept_ % wakes_between_trials == 0;
  }
}

bool hub::want_room(u32 slot, lane which, u32 target) noexcept {
  channel* const at = find(slot);
  if (at == nullptr || at->state != channel_state::live) return false;
  room_wanted& room = at->room[index_of(which)];
  room = {true, target};
  if (at->list == listed::cold) {
    ring::announce_sleep(at->reading->end.own->waiting_space); // partner: peer_waits in the peer, after it released
    ++at->rings_allowed;
  }
  if (!has_room(*at, which)) return false;
  room.wanted = false;
  return true;
}

void hub::pause(u32 slot, bool paused) noexcept {
  channel* const which = find(slot);
  if (which == nullptr || which->state != channel_state::live || which->paused == paused) return;
  which->paused = paused;
  if (paused) return;
  // Any other value makes the next pass look again. Partner: producer::flush in the peer.
  which->reading->seen_heads = ~ring::load_both_heads(*which->reading->end.heads_in);
  make_hot(*which);
}

void hub::expect(u32 slot) noexcept {
  if (channel* const which = find(slot)) make_hot(*which);
}

// ---- sleeping and waking ----

bool hub::arm() noexcept {
  // All announcements first: their stores overlap, and each waits only once for the second look.
  for (channel* const each : hot_) announce(*each);
  for (std::size_t i = hot_.size(); i-- > 0;) settle(*hot_[i]);
  return !awake();
}

result<void> hub::poll_sockets(int timeout_ms) {
  rings_unheard_ = false;
  platform::poller::ready ready[64];
  auto count = poller_.wait(ready, timeout_ms);
  if (!count) return count.error();
  for (const auto& [tag, ended] : std::span{ready, *count}) {
    if (tag == listener_tag) {
      accept_all();
    } else if (channel* const which = find(tag)) {
      switch (which->state) {
        case channel_state::handshaking: push(which->slot, event::readable); break;
        case channel_state::live: listen_to_doorbell(*which, ended); break;
        case channel_state::over: break;
      }
    }
  }
  return {};
}

result<u32> hub::wait(std::span<entry> batch, std::int64_t timeout_ms, bool expecting) {
  if (++waits_ % waits_between_looks == 0) {
    if (auto looked = poll_sockets(0); !looked) return looked.error();
  }
  if (expecting && hot_.empty()) {
    for (std::size_t i = cold_.size(); i-- > 0;) make_hot(*cold_[i].owner);
  }
  spin_begin_ns_ = 0;
  std::int64_t begin = 0;
  for (u32 step = 0;;) {
    if (const u32 count = collect(batch); count > 0) return count;
    if (timeout_ms != 0 && !hot_.empty() && spin_step(++step)) continue;
    if (!arm()) continue;
    // The clock starts here at the latest: the spinning before is below its resolution of a millisecond.
    const std::int64_t now = platform::now_ns();
    if (begin == 0) begin = spin_begin_ns_ != 0 ? spin_begin_ns_ : now;
    int remaining_ms = -1;
    if (timeout_ms >= 0) {
      const std::int64_t left_ns = timeout_ms * 1'000'000 - (now - begin);
      const std::int64_t left_ms = left_ns <= 0 ? 0 : (left_ns + 999'999) / 1'000'000; // never early
      remaining_ms = static_cast<int>(std::min<std::int64_t>(left_ms, std::numeric_limits<int>::max()));
    }
    if (auto looked = poll_sockets(remaining_ms); !looked) return looked.error();
    if (remaining_ms == 0 && !awake()) return u32{0};
    step = 0;
    spin_begin_ns_ = 0;
  }
}

// ---- inside ----

void hub::accept_all() {
  for (u32 i = 0; i < accepts_per_look; ++i) {
    auto accepted = listener_->accept();
    if (!accepted) {
      push(0, event::deaf, accepted.error().code);
      stop_listening();
      return;
    }
    if (accepted->refused) {
      push(0, event::refused);
    } else if (!accepted->socket) {
      return;
    } else if (auto slot = adopt(std::move(accepted->socket))) {
      push(*slot, event::accepted);
    } else {
      push(0, event::refused);
    }
  }
}

void hub::listen_to_doorbell(channel& rung, bool hung_up) {
  // Drained before the rings are read: a byte that comes later belongs to news that come later.
  platform::drained heard = platform::drain_doorbell(rung.socket.get());
  // The end is behind the last ring: found now, it makes room before the next client asks for some.
  while (hung_up && !heard.ended && !heard.descriptors && heard.rings <= rung.rings_allowed) {
    const platform::drained more = platform::drain_doorbell(rung.socket.get());
    heard = {heard.rings + more.rings, more.ended, more.descriptors};
    hung_up = more.rings > 0;
  }
  if (heard.rings > rung.rings_allowed) return violate(rung, violation::doorbell);
  if (heard.descriptors) return violate(rung, violation::descriptors);
  rung.rings_allowed -= heard.rings;
  if (heard.ended) {
    rung.ended = true;
    poller_.remove(rung.socket.get()); // or it would be ready for ever
  }
  make_hot(rung);
}

void hub::violate(channel& by, violation what, ring::fault detail) {
  push(by.slot, event::violated, static_cast<std::int32_t>(what), static_cast<std::int32_t>(detail));
  end(by);
}

void hub::end(channel& which) noexcept {
  if (which.state == channel_state::over) return;
  if (!which.ended) poller_.remove(which.socket.get());
  leave_list(which);
  which.state = channel_state::over;
}

void hub::make_hot(channel& which) noexcept {
  if (which.list == listed::hot || which.state != channel_state::live) return;
  leave_list(which);
  which.list = listed::hot;
  which.place = static_cast<u32>(hot_.size());
  which.last_active_pass = pass_;
  hot_.push_back(&which);
  ring::side_line& own = *which.reading->end.own;
  ring::announce_awake(own.waiting_data);
  ring::announce_awake(own.waiting_space);
  publish_cpu(which);
}

void hub::make_cold(channel& which, u64 seen) noexcept {
  leave_list(which);
  which.list = listed::cold;
  which.place = static_cast<u32>(cold_.size());
  cold_.push_back({which.reading->end.heads_in, seen, &which});
}

void hub::leave_list(channel& which) noexcept {
  if (which.list == listed::hot) {
    hot_[which.place] = hot_.back();
    hot_[which.place]->place = which.place;
    hot_.pop_back();
  } else if (which.list == listed::cold) {
    cold_[which.place] = cold_.back();
    cold_[which.place].owner->place = which.place;
    cold_.pop_back();
  }
  which.list = listed::nowhere;
}

void hub::announce(channel& which) noexcept {
  ring::side_line& own = *which.reading->end.own;
  ring::announce_sleep(own.waiting_data); // partner: peer_waits in the peer, after it published
  ++which.rings_allowed;
  if (which.room[0].wanted || which.room[1].wanted) {
    ring::announce_sleep(own.waiting_space); // partner: peer_waits in the peer, after it released
    ++which.rings_allowed;
  }
}

// The second look after `announce`: the channel turns cold unless something came in between.
void hub::settle(channel& announced) noexcept {
  u64 seen = 0;
  if (has_news(announced, seen)) {
    ring::announce_awake(announced.reading->end.own->waiting_data);
    ring::announce_awake(announced.reading->end.own->waiting_space);
  } else {
    make_cold(announced, seen);
  }
}

bool hub::has_room(channel& where, lane which) noexcept {
  const room_wanted& room = where.room[index_of(which)];
  const ring::endpoint& end = where.reading->end;
  u32& tail = *(which == lane::data ? end.data_out : end.control_out).tail;
  // Partner: consumer::release in the peer. Only whether to look again: who writes checks the tail itself.
  return room.wanted && static_cast<std::int32_t>(ring::load_position(tail) - room.target) >= 0;
}

bool hub::has_news(channel& at, u64& seen) noexcept {
  rings& in = *at.reading;
  const u32 data = ring::load_position(*in.end.data_in.head);       // partner: producer::flush in the peer
  const u32 control = ring::load_position(*in.end.control_in.head); // partner: producer::flush in the peer
  seen = join_heads(data, control);
  return control != in.control.position() || (!at.paused && data != in.data.position()) ||
         has_room(at, lane::data) || has_room(at, lane::control);
}

bool hub::spin_step(u32 step) noexcept {
  if (settings_.spin_ns == 0 || (woke_peer_ && !wait_awake_)) return false;
  if (step % steps_per_check == 0 || shared_cpu_checks_ > 0) {
    const std::int64_t now = platform::now_ns();
    clock_ns_ = now;
    if (spin_begin_ns_ == 0) spin_begin_ns_ = now;
    if (now - spin_begin_ns_ >= settings_.spin_ns + (woke_peer_ ? wake_up_ns : 0)) {
      if (woke_peer_) wait_awake_ = wait_pays_ = false;
      return false;
    }
    if (shares_cpu()) {
      if (!can_leave()) return false;
      if (settings_.leave_shared_cpu && ++shared_cpu_checks_ > checks_before_move &&
          now - last_move_ns_ >= least_ns_between_moves) {
        last_move_ns_ = now;
        // The peer runs as soon as this thread is gone. If it still saw this thread on its CPU it would move as well, to
        // the same one, and again whenever both may.
        cpu_ = platform::unknown_cpu;
        for (channel* const each : hot_) publish_cpu(*each);
        (void)platform::leave_cpu();
      } else {
        platform::yield_cpu();
      }
      return true;
    }
    shared_cpu_checks_ = 0;
  }
  platform::relax();
  return true;
}

bool hub::shares_cpu() noexcept {
  cpu_ = platform::current_cpu();
  bool shared = false;
  for (channel* const each : hot_) {
    publish_cpu(*each);
    ring::side_line& peer = *each->reading->end.peer;
    shared |= ring::load_relaxed(peer.cpu) == cpu_ + 1 && ring::load_relaxed(peer.waiting_data) == 0;
  }
  return shared && cpu_ != platform::unknown_cpu;
}

// Asked anew each time: affinity may change at any moment, and who has to ask spins for nothing anyway.
bool hub::can_leave() noexcept {
  return platform::usable_cpus() > 1;
}

// Stored plus one: fresh memory, which is zero, says nothing about CPU 0.
void hub::publish_cpu(channel& to) const noexcept {
  rings& in = *to.reading;
  if (in.published_cpu == cpu_ + 1) return;
  in.published_cpu = cpu_ + 1;
  ring::store_relaxed(in.end.own->cpu, in.published_cpu);
}

void hub::push(u32 slot, event what, std::int32_t second, std::int32_t third) {
  events_.push_back(
      {static_cast<std::int32_t>(slot) | event_bit, static_cast<std::int32_t>(what), second, third});
}

} // namespace spanwire::pump
