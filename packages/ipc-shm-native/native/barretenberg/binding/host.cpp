#include "host.hpp"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "../../binding/errors.hpp"
#include "exports.hpp"

namespace spanwire::barretenberg {

using binding::throw_failure;
using binding::throw_misuse;

namespace {

constexpr std::size_t batch_entries = 1024;

// Messages beyond this get memory of their own, so that a small one that is kept does not keep much.
constexpr u32 large_bytes = 8u << 10;

// Between two looks at the clock.
constexpr unsigned steps_per_look = 64;

enum tag : unsigned { watcher_tag, peer_tag };

// What `request` returns instead of a length.
enum refusal : int { never_sent = -1, no_answer = -2, peer_is_gone = -3, ring_is_broken = -4 };

template <std::size_t count>
[[nodiscard]] std::array<napi_value, count> arguments(napi_env env, napi_callback_info info) {
  std::array<napi_value, count> values{};
  std::size_t given = count;
  napi_get_cb_info(env, info, &given, values.data(), nullptr, nullptr);
  return values;
}

[[nodiscard]] std::optional<std::span<std::byte>> to_bytes(napi_env env, napi_value value) {
  napi_typedarray_type type{};
  std::size_t length = 0;
  void* data = nullptr;
  if (napi_get_typedarray_info(env, value, &type, &length, &data, nullptr, nullptr) != napi_ok ||
      type != napi_uint8_array) {
    return {};
  }
  return std::span{static_cast<std::byte*>(data), length};
}

[[nodiscard]] napi_value to_number(napi_env env, double value) {
  napi_value result = nullptr;
  napi_create_double(env, value, &result);
  return result;
}

[[nodiscard]] napi_value to_boolean(napi_env env, bool value) {
  napi_value result = nullptr;
  napi_get_boolean(env, value, &result);
  return result;
}

[[nodiscard]] Napi::Reference<Napi::Int32Array> shared_words(Napi::Env env, std::size_t count, void** data) {
  Napi::Int32Array made = Napi::Int32Array::New(env, count);
  *data = made.Data();
  return Napi::Reference<Napi::Int32Array>::New(made, 1);
}

[[nodiscard]] u32 low(u64 position) noexcept {
  return static_cast<u32>(position);
}

[[nodiscard]] u32 align8(u32 bytes) noexcept {
  return (bytes + 7) & ~7u;
}

} // namespace

void add_exports(Napi::Env env, Napi::Object exports) {
  exports.Set("createBarretenberg", Napi::Function::New<host::create>(env, "createBarretenberg"));
}

// ---- making ----

Napi::Value host::create(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (!info[0].IsObject()) return throw_misuse(env, "Expected `options` to be an object");
  const Napi::Object options = info[0].As<Napi::Object>();
  const std::string name = options.Get("name").ToString().Utf8Value();
  const bool serves = options.Get("side").ToString().Utf8Value() == "server";
  const auto request_bytes = options.Get("requestRingBytes").ToNumber().Int64Value();
  const auto response_bytes = options.Get("responseRingBytes").ToNumber().Int64Value();
  const std::int64_t spin_ns = options.Get("spinMicros").ToNumber().Int64Value() * 1000;
  const std::int64_t work_limit_ns = options.Get("workLimitMicros").ToNumber().Int64Value() * 1000;
  const std::string wakes_by = options.Get("wakesBy").ToString().Utf8Value();
  const Napi::Value on_batch = options.Get("onBatch");
  const Napi::Value on_event = options.Get("onEvent");
  if (env.IsExceptionPending()) return env.Undefined();
  if (!on_batch.IsFunction() || !on_event.IsFunction()) {
    return throw_misuse(env, "Expected `onBatch` and `onEvent` to be functions");
  }

  auto pair = serves ? objects::create(name, static_cast<u64>(request_bytes), static_cast<u64>(response_bytes))
                     : objects::open(name);
  if (!pair) return throw_failure(env, pair.error());

  auto* const made = new host{env};
  made->retain(); // until the end of this function
  made->side_ = serves ? role::server : role::client;
  made->attached_ = serves;
  made->wire_ = std::make_unique<wire>(std::move(*pair), made->side_, spin_ns);
  made->inbox_ = std::make_unique<inbox>(made->wire_->in());
  made->work_limit_ns_ = work_limit_ns;
  void* words = nullptr;
  made->batch_reference_ = shared_words(env, batch_entries * sizeof(entry) / 4, &words);
  made->batch_ = {static_cast<entry*>(words), batch_entries};
  made->state_reference_ = shared_words(env, sizeof(state_words) / 4, &words);
  made->state_ = static_cast<state_words*>(words);
  made->on_batch_ = Napi::Persistent(on_batch.As<Napi::Function>());
  made->on_event_ = Napi::Persistent(on_event.As<Napi::Function>());
  if (wakes_by != "nothing") {
    if (auto started = made->start_waking(env, wakes_by == "thread"); !started) {
      if (serves) made->wire_->shared().remove_names();
      made->let_go();
      return throw_failure(env, started.error());
    }
  }
  // Worker threads end at any moment: then the names go, the thread ends, and the handles are gone before the loop is.
  napi_add_async_cleanup_hook(
      env,
      [](napi_async_cleanup_hook_handle, void* argument) {
        auto* const self = static_cast<host*>(argument);
        self->tearing_down_ = true;
        self->shut();
      },
      made, &made->cleanup_hook_);
  made->retain(); // until `shut` is complete
  const Napi::Object object = made->make_object();
  made->let_go();
  return object;
}

result<void> host::start_waking(Napi::Env env, bool by_thread) {
  // Clients of the original fail at once when they find no room; its server is silent.
  auto thread = watcher::create(*wire_, side_ == role::client ? this : nullptr);
  if (!thread) return thread.error();
  auto poller = platform::poller::create();
  if (!poller) return poller.error();
  if (auto added = poller->add((*thread)->descriptor(), watcher_tag); !added) return added.error();
  watcher_ = std::move(*thread);
  poller_.emplace(std::move(*poller));
  waker_ = by_thread ? binding::make_thread_waker(env, poller_->descriptor(), *this)
                     : binding::make_loop_waker(env, poller_->descriptor(), *this);
  if (waker_ == nullptr) return failure{"event loop", 0, failure::kind::unsupported};
  return {};
}

template <host::method called>
napi_value host::call(napi_env env, napi_callback_info info) {
  void* self = nullptr;
  napi_get_cb_info(env, info, nullptr, nullptr, nullptr, &self);
  return (static_cast<host*>(self)->*called)(info);
}

template <host::method called>
void host::add_method(Napi::Object& object, const char* name) {
  napi_value function = nullptr;
  napi_create_function(env_, name, NAPI_AUTO_LENGTH, &host::call<called>, this, &function);
  // Each function keeps the host: JavaScript can hold one without the object that it came from.
  retain();
  napi_add_finalizer(
      env_, function, this, [](napi_env, void* data, void*) { static_cast<host*>(data)->let_go(); }, nullptr, nullptr);
  object.Set(name, function);
}

Napi::Object host::make_object() {
  Napi::Object object = Napi::Object::New(env_);
  object.Set("batch", batch_reference_.Value());
  object.Set("state", state_reference_.Value());
  object.Set("largestOut", Napi::Number::New(env_, static_cast<double>(wire_->out().largest_payload())));
  object.Set("capacityIn", Napi::Number::New(env_, static_cast<double>(wire_->in().capacity())));
  add_method<&host::send>(object, "send");
  add_method<&host::use_chunk>(object, "useChunk");
  add_method<&host::take_large>(object, "takeLarge");
  add_method<&host::collect>(object, "collect");
  add_method<&host::kick>(object, "kick");
  add_method<&host::want_room>(object, "wantRoom");
  add_method<&host::request>(object, "request");
  add_method<&host::find_peer>(object, "findPeer");
  add_method<&host::settle>(object, "settle");
  add_method<&host::peer_waits>(object, "peerWaits");
  add_method<&host::abandoned>(object, "abandoned");
  add_method<&host::reuse>(object, "reuse");
  add_method<&host::remove_names>(object, "removeNames");
  add_method<&host::fault_text>(object, "fault");
  add_method<&host::ref>(object, "ref");
  add_method<&host::unref>(object, "unref");
  add_method<&host::close>(object, "close");
  return object;
}

// ---- messages ----

napi_value host::send(napi_callback_info info) {
  const auto given = arguments<1>(env_, info);
  const auto payload = to_bytes(env_, given[0]);
  if (!payload) return throw_misuse(env_, "Expected `payload` to be a Uint8Array");
  if (wire_ == nullptr || over_) return to_number(env_, -1);
  if (wire_->try_send(*payload)) return to_number(env_, 1);
  // What is wrong with the ring that is read is for the next turn to say.
  return to_number(env_, wire_->out().broken() == fault::none ? 0 : -1);
}

napi_value host::use_chunk(napi_callback_info info) {
  const auto given = arguments<1>(env_, info);
  const auto chunk = to_bytes(env_, given[0]);
  if (!chunk || chunk->size() < 2 * large_bytes) return throw_misuse(env_, "Expected `chunk` to be a large Uint8Array");
  chunk_reference_ = Napi::Reference<Napi::Uint8Array>::New(Napi::Uint8Array{env_, given[0]}, 1);
  chunk_ = *chunk;
  state_->chunk_used = 0;
  return nullptr;
}

napi_value host::take_large(napi_callback_info info) {
  const auto given = arguments<1>(env_, info);
  const auto into = to_bytes(env_, given[0]);
  if (!into || wire_ == nullptr) return throw_misuse(env_, "Expected a Uint8Array, and a wire that is open");
  const auto guard = inbox_->lock();
  message next{};
  if (!inbox_->peek(next) || next.length != into->size()) {
    return throw_misuse(env_, "Expected a Uint8Array of the length of the next message");
  }
  std::memcpy(into->data(), next.payload, next.length);
  if (inbox_->drop(next)) wire_->release();
  return nullptr;
}

napi_value host::collect(napi_callback_info) {
  if (wire_ == nullptr) return to_number(env_, 0);
  const u32 count = take_batch();
  ensure_turn();
  return to_number(env_, count);
}

// Copies what is there into the chunk, and gives it back to the peer at once.
u32 host::take_batch() {
  if (state_->paused != 0 || over_) return 0;
  const auto guard = inbox_->lock();
  if (!inbox_->any() && !inbox_->doubtful()) return 0;
  if (side_ == role::client) {
    inbox_->look();
    if (inbox_->doubtful()) {
      inbox_->settle_doubt(wire_->out(), static_cast<std::size_t>(state_->expecting));
      wire_->release();
      if (inbox_->doubtful()) return 0;
    }
  }
  u32 used = static_cast<u32>(state_->chunk_used);
  u32 count = 0;
  bool release = false;
  message next{};
  while (count < batch_.size() && inbox_->peek(next)) {
    const auto length = static_cast<std::int32_t>(next.length);
    if (next.length > large_bytes) {
      batch_[count++] = {-1, length};
      break; // nothing behind it can be looked at before it is taken
    }
    if (used > chunk_.size() || next.length > chunk_.size() - used) break;
    if (next.length > 0) std::memcpy(chunk_.data() + used, next.payload, next.length);
    batch_[count++] = {static_cast<std::int32_t>(used), length};
    used += align8(next.length);
    release |= inbox_->drop(next);
  }
  state_->chunk_used = static_cast<std::int32_t>(used);
  if (release) wire_->release();
  return count;
}

// ---- on the watcher's thread ----

void host::tick() noexcept {
  const auto guard = inbox_->lock();
  (void)inbox_->any();
  inbox_->look();
  if (inbox_->rescue()) wire_->release();
}

napi_value host::kick(napi_callback_info) {
  if (wire_ == nullptr) return nullptr;
  ensure_turn();
  if (side_ == role::server || watcher_ == nullptr || state_->guarded != 0 || state_->expecting == 0) return nullptr;
  // Until the next turn, and while it lasts, JavaScript may do anything.
  const auto guard = inbox_->lock();
  inbox_->expect();
  watcher_->guard();
  state_->guarded = 1;
  return nullptr;
}

napi_value host::want_room(napi_callback_info info) {
  const auto given = arguments<1>(env_, info);
  u32 bytes = 0;
  napi_get_value_uint32(env_, given[0], &bytes);
  if (wire_ == nullptr || over_) return to_boolean(env_, false);
  if (wire_->out().room_for(bytes)) return to_boolean(env_, true);
  wanted_room_ = u64{bytes} + 1;
  ensure_turn();
  return to_boolean(env_, false);
}

// ---- blocking ----

napi_value host::request(napi_callback_info info) {
  const auto given = arguments<3>(env_, info);
  const auto payload = to_bytes(env_, given[0]);
  const auto scratch = to_bytes(env_, given[1]);
  if (!payload || !scratch) return throw_misuse(env_, "Expected `payload` and `scratch` to be Uint8Arrays");
  if (wire_ == nullptr) return throw_misuse(env_, "Expected a wire that is open");
  double timeout_ms = -1;
  napi_get_value_double(env_, given[2], &timeout_ms);
  const std::int64_t deadline_ns =
      timeout_ms < 0 ? -1 : platform::now_ns() + static_cast<std::int64_t>(timeout_ms * 1e6);
  // A worker that is being terminated runs no more JavaScript: then waiting is in vain.
  const wire::patience patience{
      [](void* context) noexcept {
        auto* const self = static_cast<host*>(context);
        const Napi::HandleScope scope{self->env_};
        napi_value ignored = nullptr;
        return napi_call_function(self->env_, self->env_.Global(), self->on_event_.Value(), 0, nullptr, &ignored) ==
               napi_ok;
      },
      this};

  const auto refused = [&](wait_end end, refusal when_late) -> napi_value {
    switch (end) {
      case wait_end::timed_out: return to_number(env_, when_late);
      case wait_end::peer_gone: return to_number(env_, peer_is_gone);
      case wait_end::broken: return to_number(env_, ring_is_broken);
      default: return nullptr; // an exception is pending
    }
  };
  // Answers that come too late for who asked are awaited first, one by one: the ring must not fill with them, since the
  // published server gives up an answer that finds no room for 100 ms.
  while (owed_ > 0) {
    const wait_end end = wire_->wait_for_message(deadline_ns, &patience);
    if (end != wait_end::ready) return refused(end, never_sent);
    message late{};
    if (!wire_->in().take(late)) return to_number(env_, ring_is_broken);
    wire_->release();
    --owed_;
  }
  while (!wire_->try_send(*payload)) {
    const wait_end end = wire_->wait_for_room(payload->size(), deadline_ns, &patience);
    if (end != wait_end::ready) return refused(end, never_sent);
  }
  const wait_end end = wire_->wait_for_message(deadline_ns, &patience);
  if (end != wait_end::ready) {
    ++owed_;
    return refused(end, no_answer);
  }
  message answer{};
  if (!wire_->in().take(answer)) return to_number(env_, ring_is_broken);
  napi_value result = nullptr;
  if (answer.length <= scratch->size()) {
    if (answer.length > 0) std::memcpy(scratch->data(), answer.payload, answer.length);
    result = to_number(env_, answer.length);
  } else {
    void* data = nullptr;
    napi_value buffer = nullptr;
    if (napi_create_arraybuffer(env_, answer.length, &data, &buffer) == napi_ok) {
      std::memcpy(data, answer.payload, answer.length);
      napi_create_typedarray(env_, napi_uint8_array, answer.length, buffer, 0, &result);
    }
  }
  wire_->release();
  return result;
}

// ---- the other side ----

napi_value host::find_peer(napi_callback_info info) {
  const auto given = arguments<1>(env_, info);
  std::int32_t pid = 0;
  napi_get_value_int32(env_, given[0], &pid);
  if (wire_ == nullptr) return throw_misuse(env_, "Expected a wire that is open");
  auto found = pid > 0 ? process::of(pid) : look_for_peer();
  if (!found) return throw_failure(env_, found.error());
  Napi::Object result = Napi::Object::New(env_);
  result.Set("pid", Napi::Number::New(env_, found->pid()));
  result.Set("uid", Napi::Number::New(env_, found->uid()));
  if (poller_) {
    if (wire_->peer()) poller_->remove(wire_->peer()->descriptor());
    if (auto added = poller_->add(found->descriptor(), peer_tag); !added) return throw_failure(env_, added.error());
  }
  wire_->watch(std::move(*found));
  peer_ended_ = false;
  return result;
}

// Whoever maps the objects besides us. ESRCH: nobody; EBUSY: several, and a client cannot tell who of them is the server.
result<process> host::look_for_peer() {
  auto users = processes_with(wire_->shared().request.which());
  if (!users) return users.error();
  std::optional<int> found;
  for (const user_of_object& user : *users) {
    if (user.pid == getpid() && user.mappings == 1) continue;
    if (found && side_ == role::client) return failure{"shared memory users", EBUSY};
    found = user.pid;
  }
  if (!found) return failure{"shared memory users", ESRCH};
  return process::of(*found);
}

napi_value host::settle(napi_callback_info) {
  attached_ = attached_ || (wire_ != nullptr && wire_->settle_as_client());
  if (attached_ && wire_ != nullptr && wire_->peer_is_ours()) inbox_->trust_peer();
  return to_boolean(env_, attached_);
}

napi_value host::peer_waits(napi_callback_info) {
  return to_boolean(env_, wire_ != nullptr && wire_->peer_is_ours());
}

napi_value host::abandoned(napi_callback_info) {
  return to_boolean(env_, wire_ != nullptr && wire_->shared().abandoned());
}

// A server goes on with the next client, if the last one left nothing behind.
napi_value host::reuse(napi_callback_info) {
  if (wire_ == nullptr || wire_->broken() != fault::none || !wire_->clean()) return to_boolean(env_, false);
  if (wire_->peer() && poller_) poller_->remove(wire_->peer()->descriptor());
  wire_->forget_peer();
  wire_->forgive_farewell();
  peer_ended_ = false;
  over_ = false;
  wanted_room_ = 0;
  ensure_turn();
  return to_boolean(env_, true);
}

napi_value host::remove_names(napi_callback_info) {
  if (wire_ != nullptr && side_ == role::server) wire_->shared().remove_names();
  return nullptr;
}

napi_value host::fault_text(napi_callback_info) {
  const fault broken = wire_ == nullptr ? fault::none : wire_->broken();
  const bool lost = broken == fault::none && inbox_ != nullptr && inbox_->lost();
  return Napi::String::New(env_, lost ? "full for so long that the server gave up an answer" : describe(broken));
}

// ---- turns ----

void host::on_ready() {
  if (wire_ == nullptr || in_turn_) return;
  platform::poller::ready ready[2];
  // Only a bug could make this fail; the turn then still serves what is known.
  if (auto count = poller_->wait(ready, 0)) {
    for (unsigned i = 0; i < *count; ++i) {
      if (ready[i].tag == watcher_tag) {
        watcher_->drain();
        if (asleep_since_ns_ != 0) {
          wire_->awake().came_late(wire_->awake().budget_ns() + platform::now_ns() - asleep_since_ns_);
        }
      } else if (wire_->peer()) {
        peer_ended_ = true;
        poller_->remove(wire_->peer()->descriptor()); // or it would be ready for ever
      }
    }
  }
  run_turn();
}

void host::on_turn() {
  if (wire_ != nullptr && !in_turn_) run_turn();
}

void host::run_turn() {
  const Napi::HandleScope scope{env_};
  retain(); // the callbacks may close everything
  in_turn_ = true;
  state_->awake = 1;
  asleep_since_ns_ = 0;
  disarm();
  const turn_end end = turn();
  in_turn_ = false;
  if (wire_ != nullptr && waker_ != nullptr) {
    if (end == turn_end::asleep) {
      asleep_since_ns_ = state_->expecting == 0 ? 0 : platform::now_ns();
      state_->awake = 0;
      waker_->rest();
    } else {
      waker_->request_turn();
    }
  }
  let_go();
}

// Delivers until nothing comes any more and sleep is announced, or the work limit is reached.
host::turn_end host::turn() {
  const std::int64_t begin = platform::now_ns();
  spinner& awake = wire_->awake();
  awake.begin();
  for (unsigned steps = 0;;) {
    if (const u32 count = take_batch(); count > 0) {
      awake.came();
      if (!deliver(on_batch_, static_cast<std::int32_t>(count))) return turn_end::stopped;
      awake.begin();
      steps += 1 + count * 4;
    } else if (room_came()) {
      if (!deliver(on_event_, static_cast<std::int32_t>(event::room))) return turn_end::stopped;
    } else if (const auto how = ending()) {
      over_ = true;
      if (!deliver(on_event_, static_cast<std::int32_t>(*how))) return turn_end::stopped;
    } else if (state_->expecting == 0 || state_->paused != 0 || over_ || !awake.step()) {
      if (arm()) return turn_end::asleep;
    } else {
      ++steps;
    }
    if (steps >= steps_per_look) {
      steps = 0;
      if (platform::now_ns() - begin >= work_limit_ns_) return turn_end::busy;
    }
  }
}

bool host::room_came() {
  if (wanted_room_ == 0 || over_ || !wire_->out().room_for(wanted_room_ - 1)) return false;
  wanted_room_ = 0;
  return true;
}

// How the connection ended, if it did; once. What the peer sent before comes first.
std::optional<event> host::ending() {
  if (over_) return {};
  const auto guard = inbox_->lock();
  if (wire_->broken() != fault::none || inbox_->lost()) return event::broken;
  const bool left = wire_->peer_left();
  // While there is doubt nobody knows whose the last answers are, and nobody will.
  if ((!left && !peer_ended_) || (inbox_->any() && !inbox_->doubtful())) return {};
  return left ? event::left : event::gone;
}

// Announces sleep to the peer and looks again. True: nothing is there, and the watcher will tell.
bool host::arm() {
  if (over_) return true;
  const auto guard = inbox_->lock();
  const bool messages = state_->paused == 0;
  // Whether an answer was lost shows once the peer has read all requests.
  const bool doubtful = messages && inbox_->doubtful();
  const bool room = wanted_room_ != 0 || doubtful;
  if (messages) store(wire_->message_flag(), u32{1}); // partner: the peer, after it moved the head
  if (room) store(wire_->room_flag(), u32{1});        // partner: the peer, after it moved the tail
  armed_ = true;
  const bool news = doubtful ? wire_->in().refresh() || wire_->out().drained() : inbox_->any();
  if ((messages && (news || wire_->peer_left())) || wire_->broken() != fault::none ||
      (wanted_room_ != 0 && wire_->out().room_for(wanted_room_ - 1))) {
    disarm();
    return false;
  }
  const bool guarded = side_ == role::client && state_->expecting != 0;
  watcher_->arm({messages, low(wire_->in().seen_head()), room, low(wire_->out().seen_tail()), guarded});
  state_->guarded = guarded ? 1 : 0;
  return true;
}

void host::disarm() {
  if (!armed_) return;
  armed_ = false;
  watcher_->disarm();
  store_relaxed(wire_->message_flag(), u32{0});
  store_relaxed(wire_->room_flag(), u32{0});
}

bool host::deliver(Napi::FunctionReference& callback, std::int32_t argument) {
  const Napi::HandleScope scope{env_};
  const napi_value value = Napi::Number::New(env_, argument);
  // Runs what the callback leaves to nextTick and to promises, too, before it returns.
  const napi_status status = napi_make_callback(env_, nullptr, env_.Global(), callback.Value(), 1, &value, nullptr);
  if (status == napi_ok) return wire_ != nullptr;
  bool pending = false;
  napi_value error = nullptr;
  if (napi_is_exception_pending(env_, &pending) == napi_ok && pending &&
      napi_get_and_clear_last_exception(env_, &error) == napi_ok) {
    napi_fatal_exception(env_, error);
  }
  return false; // a worker may be ending: the loop decides whether there is another turn
}

// Something changed outside of a turn: somebody must look, and arm again before the loop sleeps.
void host::ensure_turn() {
  if (in_turn_ || wire_ == nullptr || waker_ == nullptr || state_->awake != 0) return;
  state_->awake = 1;
  waker_->request_turn();
}

// ---- life ----

napi_value host::ref(napi_callback_info) {
  if (waker_ != nullptr) waker_->ref();
  return nullptr;
}

napi_value host::unref(napi_callback_info) {
  if (waker_ != nullptr) waker_->unref();
  return nullptr;
}

napi_value host::close(napi_callback_info) {
  shut();
  return nullptr;
}

// Everything that the peer and the file system can see goes at once; what the event loop polls when it polls no more.
// It may be in the middle of a turn, which ends by itself.
void host::shut() {
  if (wire_ == nullptr) return;
  if (!tearing_down_) {
    on_batch_.Reset();
    on_event_.Reset();
    chunk_reference_.Reset();
  }
  disarm();
  if (attached_) wire_->say_farewell();
  if (side_ == role::server) wire_->shared().remove_names();
  watcher_.reset(); // before what its thread looks at
  inbox_.reset();
  wire_.reset();
  state_->awake = 0;
  const auto finished = [](void* context) {
    auto* const self = static_cast<host*>(context);
    self->poller_.reset();
    napi_remove_async_cleanup_hook(self->cleanup_hook_);
    self->let_go();
  };
  if (waker_ != nullptr) {
    std::exchange(waker_, nullptr)->close(finished, this);
  } else {
    finished(this);
  }
}

void host::let_go() {
  if (--holders_ == 0) delete this;
}

} // namespace spanwire::barretenberg
