#include "host.hpp"

#include <cstring>

#include "../ring/copy.hpp"
#include "errors.hpp"

namespace spanwire::binding {

using pump::channel;
using pump::channel_state;
using pump::lane;
using pump::u32;

namespace {

constexpr u32 batch_entries = 1024;

[[nodiscard]] u32 u32_at(const Napi::CallbackInfo& info, std::size_t index) {
  u32 value = 0;
  napi_get_value_uint32(info.Env(), info[index], &value); // 0 when it is no number
  return value;
}

[[nodiscard]] bool bool_at(const Napi::CallbackInfo& info, std::size_t index) {
  bool value = false;
  napi_get_value_bool(info.Env(), info[index], &value);
  return value;
}

[[nodiscard]] std::optional<std::span<std::byte>> bytes_at(const Napi::CallbackInfo& info, std::size_t index) {
  napi_typedarray_type type{};
  std::size_t length = 0;
  void* data = nullptr;
  if (napi_get_typedarray_info(info.Env(), info[index], &type, &length, &data, nullptr, nullptr) != napi_ok ||
      type != napi_uint8_array) {
    return {};
  }
  return std::span{static_cast<std::byte*>(data), length};
}

// Frees the mapping when nobody can see it any more: the ArrayBuffer, or what `transfer()` made of it, is gone.
void release_segment(napi_env, void*, void* hint) {
  delete static_cast<std::shared_ptr<platform::segment>*>(hint);
}

[[nodiscard]] Napi::Reference<Napi::Int32Array> shared_words(Napi::Env env, std::size_t count, void** data) {
  Napi::Int32Array made = Napi::Int32Array::New(env, count);
  *data = made.Data();
  return Napi::Reference<Napi::Int32Array>::New(made, 1);
}

[[nodiscard]] lane lane_at(const Napi::CallbackInfo& info, std::size_t index) {
  return u32_at(info, index) == 0 ? lane::data : lane::control;
}

} // namespace

// ---- making ----

Napi::Value host::create(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (!info[0].IsObject()) return throw_misuse(env, "Expected `options` to be an object");
  const Napi::Object options = info[0].As<Napi::Object>();

  pump::settings wanted;
  wanted.spin_ns = options.Get("spinMicros").ToNumber().Int64Value() * 1000;
  wanted.work_limit_ns = options.Get("workLimitMicros").ToNumber().Int64Value() * 1000;
  wanted.leave_shared_cpu = options.Get("leaveSharedCpu").ToBoolean();
  const std::string wakes_by = options.Get("wakesBy").ToString().Utf8Value();
  const Napi::Value on_batch = options.Get("onBatch");
  if (env.IsExceptionPending()) return env.Undefined();
  if (wakes_by != "nothing" && !on_batch.IsFunction()) {
    return throw_misuse(env, "Expected `onBatch` to be a function");
  }

  auto hub = pump::hub::create(wanted);
  if (!hub) return throw_failure(env, hub.error());

  auto* const made = new host{env};
  made->retain(); // until the end of this function
  made->hub_ = std::move(*hub);
  void* words = nullptr;
  made->batch_reference_ = shared_words(env, batch_entries * 4, &words);
  made->batch_ = {static_cast<pump::entry*>(words), batch_entries};
  made->state_reference_ = shared_words(env, sizeof(state_words) / 4, &words);
  made->state_ = static_cast<state_words*>(words);
  if (options.Get("copiesSmall").ToBoolean()) {
    constexpr std::size_t bytes = pump::copy_places * pump::copy_place_bytes;
    made->copies_reference_ = shared_words(env, bytes / 4, &words);
    made->hub_->copy_small_payloads_to({static_cast<std::byte*>(words), bytes});
  }
  if (wakes_by != "nothing") {
    made->on_batch_ = Napi::Persistent(on_batch.As<Napi::Function>());
    const int descriptor = made->hub_->descriptor();
    made->waker_ = wakes_by == "loop" ? make_loop_waker(env, descriptor, *made) : make_thread_waker(env, descriptor, *made);
    if (made->waker_ == nullptr) {
      made->let_go();
      return throw_failure(env, {"event loop", 0, platform::failure::kind::unsupported});
    }
  }
  // Worker threads end at any moment: then the sockets close, and the handles are gone before the loop is.
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

template <host::method called>
Napi::Value host::call(const Napi::CallbackInfo& info) {
  return (static_cast<host*>(info.Data())->*called)(info);
}

template <host::method called>
void host::add_method(Napi::Object& object, const char* name) {
  const Napi::Function function = Napi::Function::New<&host::call<called>>(env_, name, this);
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
  if (!copies_reference_.IsEmpty()) object.Set("copies", copies_reference_.Value());
  add_method<&host::bind>(object, "bind");
  add_method<&host::publish>(object, "publish");
  add_method<&host::stop_listening>(object, "stopListening");
  add_method<&host::connect>(object, "connect");
  add_method<&host::peer>(object, "peer");
  add_method<&host::send_handshake>(object, "sendHandshake");
  add_method<&host::receive_handshake>(object, "receiveHandshake");
  add_method<&host::create_memory>(object, "createMemory");
  add_method<&host::open_memory>(object, "openMemory");
  add_method<&host::memory>(object, "memory");
  add_method<&host::go_live>(object, "goLive");
  add_method<&host::remove>(object, "remove");
  add_method<&host::collect>(object, "collect");
  add_method<&host::look>(object, "look");
  add_method<&host::wait>(object, "wait");
  add_method<&host::ring>(object, "ring");
  add_method<&host::kick>(object, "kick");
  add_method<&host::want_room>(object, "wantRoom");
  add_method<&host::pause>(object, "pause");
  add_method<&host::write>(object, "write");
  add_method<&host::read>(object, "read");
  add_method<&host::published>(object, "published");
  add_method<&host::release>(object, "release");
  add_method<&host::ref>(object, "ref");
  add_method<&host::unref>(object, "unref");
  add_method<&host::close>(object, "close");
  return object;
}

// ---- listening and connecting ----

Napi::Value host::bind(const Napi::CallbackInfo& info) {
  if (hub_ == nullptr) return throw_misuse(env_, "Expected an open hub");
  auto made = platform::listener::bind(info[0].ToString().Utf8Value(), u32_at(info, 1));
  if (!made) return throw_failure(env_, made.error());
  bound_.emplace(std::move(*made));
  return env_.Undefined();
}

Napi::Value host::publish(const Napi::CallbackInfo& info) {
  if (hub_ == nullptr || !bound_) return throw_misuse(env_, "Expected `bind` before `publish`");
  const auto mode = bool_at(info, 0) ? platform::publish_mode::replace : platform::publish_mode::claim;
  if (auto published = bound_->publish(mode); !published) {
    bound_.reset();
    return throw_failure(env_, published.error());
  }
  auto listening = hub_->listen(std::move(*bound_));
  bound_.reset();
  if (!listening) return throw_failure(env_, listening.error());
  return env_.Undefined();
}

Napi::Value host::stop_listening(const Napi::CallbackInfo&) {
  bound_.reset();
  if (hub_ != nullptr) hub_->stop_listening();
  return env_.Undefined();
}

Napi::Value host::connect(const Napi::CallbackInfo& info) {
  if (hub_ == nullptr) return throw_misuse(env_, "Expected an open hub");
  auto socket = platform::connect_to(info[0].ToString().Utf8Value(), static_cast<int>(u32_at(info, 1)));
  if (!socket) return throw_failure(env_, socket.error());
  auto slot = hub_->adopt(std::move(*socket));
  if (!slot) return throw_failure(env_, slot.error());
  return Napi::Number::New(env_, *slot);
}

Napi::Value host::peer(const Napi::CallbackInfo& info) {
  channel* const which = any_channel(info);
  if (which == nullptr) return env_.Undefined();
  auto found = platform::credentials_of(which->socket.get());
  if (!found) return throw_failure(env_, found.error());
  Napi::Object result = Napi::Object::New(env_);
  result.Set("pid", Napi::Number::New(env_, found->pid));
  result.Set("uid", Napi::Number::New(env_, found->uid));
  return result;
}

// ---- the handshake ----

Napi::Value host::send_handshake(const Napi::CallbackInfo& info) {
  channel* const which = any_channel(info);
  const auto bytes = bytes_at(info, 1);
  if (which == nullptr || !bytes) return throw_misuse(env_, "Expected a slot and a Uint8Array");
  auto sent = hub_->send_handshake(which->slot, *bytes, bool_at(info, 2));
  return sent ? env_.Undefined() : throw_failure(env_, sent.error());
}

Napi::Value host::receive_handshake(const Napi::CallbackInfo& info) {
  channel* const which = any_channel(info);
  const auto into = bytes_at(info, 1);
  if (which == nullptr || !into || into->empty()) return throw_misuse(env_, "Expected a slot and a Uint8Array");
  auto got = hub_->receive_handshake(which->slot, *into, bool_at(info, 2));
  if (!got) return throw_failure(env_, got.error());
  return Napi::Number::New(env_, got->again ? -1 : static_cast<int>(got->bytes));
}

Napi::Value host::create_memory(const Napi::CallbackInfo& info) {
  channel* const which = any_channel(info);
  if (which == nullptr || which->segment) return throw_misuse(env_, "Expected a slot without memory");
  const auto failing = [](int, ring::u64) noexcept { return 28; }; // ENOSPC
  auto made = hub_->create_memory(which->slot, u32_at(info, 1), u32_at(info, 2),
                                  bool_at(info, 3) ? +failing : platform::reserve_space);
  return made ? env_.Undefined() : throw_failure(env_, made.error());
}

Napi::Value host::open_memory(const Napi::CallbackInfo& info) {
  channel* const which = any_channel(info);
  if (which == nullptr || which->segment) return throw_misuse(env_, "Expected a slot without memory");
  auto opened = hub_->open_memory(which->slot);
  return opened ? env_.Undefined() : throw_failure(env_, opened.error());
}

Napi::Value host::memory(const Napi::CallbackInfo& info) {
  channel* const which = any_channel(info);
  if (which == nullptr || !which->segment) return throw_misuse(env_, "Expected a slot with memory");
  const ring::geometry& where = which->segment->where;
  Napi::Object result = Napi::Object::New(env_);
  result.Set("pageBytes", Napi::Number::New(env_, where.page_bytes));
  result.Set("controlOffset", Napi::Number::New(env_, where.control_offset));
  result.Set("requestRingBytes", Napi::Number::New(env_, where.request.bytes));
  result.Set("responseRingBytes", Napi::Number::New(env_, where.response.bytes));
  result.Set("controlRingBytes", Napi::Number::New(env_, where.request_control.bytes));
  if (!bool_at(info, 1)) return result;

  slot_extras& extras = extras_of(which->slot);
  if (extras.buffer != nullptr) return throw_misuse(env_, "Expected one buffer per slot");
  auto* const share = new std::shared_ptr<platform::segment>{which->segment};
  napi_value buffer = nullptr;
  const napi_status status = napi_create_external_arraybuffer(env_, which->segment->memory.base(),
                                                              which->segment->memory.bytes(), release_segment, share,
                                                              &buffer);
  if (status != napi_ok) {
    delete share;
    return throw_failure(env_, {"external ArrayBuffer", 0, platform::failure::kind::unsupported});
  }
  napi_create_reference(env_, buffer, 0, &extras.buffer); // weak: who drops all views may have the memory collected
  result.Set("buffer", buffer);
  return result;
}

Napi::Value host::go_live(const Napi::CallbackInfo& info) {
  channel* const which = any_channel(info);
  if (which == nullptr || !which->segment || which->state != channel_state::handshaking) {
    return throw_misuse(env_, "Expected a slot with memory, in its handshake");
  }
  hub_->go_live(which->slot, bool_at(info, 1) ? ring::role::server : ring::role::client);
  ensure_turn();
  return env_.Undefined();
}

Napi::Value host::remove(const Napi::CallbackInfo& info) {
  channel* const which = any_channel(info);
  if (which == nullptr) return env_.Undefined();
  // First no view may reach the memory any more, then it goes.
  detach(extras_of(which->slot));
  hub_->remove(which->slot);
  return env_.Undefined();
}

// ---- frames ----

Napi::Value host::collect(const Napi::CallbackInfo&) {
  if (hub_ == nullptr) return Napi::Number::New(env_, 0);
  u32 count = hub_->collect(batch_);
  for (std::int32_t looks = state_->patience; count == 0 && looks > 0; --looks) {
    platform::relax();
    count = hub_->collect(batch_);
  }
  state_->hopeless = count == 0 && hub_->shares_cpu() ? 1 : 0;
  ensure_turn();
  return Napi::Number::New(env_, count);
}

Napi::Value host::look(const Napi::CallbackInfo&) {
  if (hub_ == nullptr) return Napi::Number::New(env_, 0);
  if (auto looked = hub_->poll_sockets(0); !looked) return throw_failure(env_, looked.error());
  const u32 count = hub_->collect(batch_);
  ensure_turn();
  return Napi::Number::New(env_, count);
}

Napi::Value host::wait(const Napi::CallbackInfo& info) {
  if (hub_ == nullptr || in_turn_) return throw_misuse(env_, "Expected an open hub outside of its turns");
  std::int64_t timeout_ms = 0;
  napi_get_value_int64(env_, info[0], &timeout_ms);
  auto count = hub_->wait(batch_, timeout_ms, state_->expecting != 0);
  if (!count) return throw_failure(env_, count.error());
  return Napi::Number::New(env_, *count);
}

Napi::Value host::ring(const Napi::CallbackInfo& info) {
  if (hub_ != nullptr) hub_->ring(u32_at(info, 0));
  return env_.Undefined();
}

Napi::Value host::kick(const Napi::CallbackInfo& info) {
  if (hub_ == nullptr) return env_.Undefined();
  hub_->expect(u32_at(info, 0));
  ensure_turn();
  return env_.Undefined();
}

Napi::Value host::want_room(const Napi::CallbackInfo& info) {
  const bool there = hub_ != nullptr && hub_->want_room(u32_at(info, 0), lane_at(info, 1), u32_at(info, 2));
  return Napi::Boolean::New(env_, there);
}

Napi::Value host::pause(const Napi::CallbackInfo& info) {
  if (hub_ == nullptr) return env_.Undefined();
  hub_->pause(u32_at(info, 0), bool_at(info, 1));
  ensure_turn();
  return env_.Undefined();
}

// ---- the copying path, for runtimes without external ArrayBuffers ----

Napi::Value host::write(const Napi::CallbackInfo& info) {
  channel* const to = live_channel(info);
  const auto payload = bytes_at(info, 4);
  if (to == nullptr || !payload) return Napi::Number::New(env_, -1);
  const lane which = lane_at(info, 1);
  const ring::endpoint& end = to->reading->end;
  auto& out = extras_of(to->slot).lanes[static_cast<int>(which)];
  if (!out) out.emplace(which == lane::data ? end.data_out : end.control_out);
  const u32 prefix = which == lane::control ? ring::control_prefix_bytes : 0;
  if (payload->size() > ring::max_ring_bytes) return Napi::Number::New(env_, 0);
  std::byte* const into = out->try_claim(static_cast<u32>(payload->size()) + prefix);
  if (into == nullptr) return Napi::Number::New(env_, out->broken() == ring::fault::none ? 0 : -1);
  if (prefix != 0) {
    const u32 position[2] = {u32_at(info, 5), 0};
    std::memcpy(into, position, sizeof position);
  }
  ring::copy_to_peer(into + prefix, *payload);
  out->publish(u32_at(info, 2), u32_at(info, 3));
  if (ring::peer_waits(end.peer->waiting_data)) hub_->ring(to->slot);
  return Napi::Number::New(env_, 1);
}

Napi::Value host::read(const Napi::CallbackInfo& info) {
  channel* const from = live_channel(info);
  const auto into = bytes_at(info, 3);
  if (from == nullptr || !into) return throw_misuse(env_, "Expected a live slot and a Uint8Array");
  const ring::ring_memory& where =
      lane_at(info, 1) == lane::data ? from->reading->end.data_in : from->reading->end.control_in;
  const u32 offset = u32_at(info, 2);
  if (ring::u64{offset} + into->size() > ring::u64{2} * where.capacity) {
    return throw_misuse(env_, "Expected bytes inside the ring");
  }
  if (!into->empty()) std::memcpy(into->data(), where.data + offset, into->size());
  return env_.Undefined();
}

Napi::Value host::published(const Napi::CallbackInfo& info) {
  channel* const from = live_channel(info);
  if (from == nullptr) return Napi::Boolean::New(env_, false);
  // Partner: producer::flush in the peer.
  const u32 head = ring::load_position(*from->reading->end.data_in.head);
  return Napi::Boolean::New(env_, static_cast<std::int32_t>(head - u32_at(info, 1)) >= 0);
}

Napi::Value host::release(const Napi::CallbackInfo& info) {
  channel* const from = live_channel(info);
  if (from == nullptr) return env_.Undefined();
  from->reading->data.release(u32_at(info, 1));
  if (ring::peer_waits(from->reading->end.peer->waiting_space)) hub_->ring(from->slot);
  return env_.Undefined();
}

// ---- turns ----

void host::on_ready() {
  if (hub_ == nullptr || in_turn_) return;
  // Only a bug could make the second one fail; the turn then still serves what is known.
  if (!hub_->find_news()) (void)hub_->poll_sockets(0);
  run_turn();
}

void host::on_turn() {
  if (hub_ != nullptr && !in_turn_) run_turn();
}

void host::run_turn() {
  const Napi::HandleScope scope{env_};
  retain(); // the callback may close everything
  in_turn_ = true;
  state_->awake = 1;
  const auto end = hub_->turn(batch_, &state_->expecting, [this](u32 count) { return deliver(count); });
  in_turn_ = false;
  if (hub_ != nullptr && waker_ != nullptr) {
    if (end == pump::hub::turn_end::asleep) {
      state_->awake = 0;
      waker_->rest();
    } else {
      waker_->request_turn();
    }
  }
  let_go();
}

bool host::deliver(u32 count) {
  const Napi::HandleScope scope{env_};
  const napi_value argument = Napi::Number::New(env_, count);
  // Runs what the callback leaves to nextTick and to promises, too, before it returns.
  const napi_status status =
      napi_make_callback(env_, nullptr, env_.Global(), on_batch_.Value(), 1, &argument, nullptr);
  if (status == napi_ok) return hub_ != nullptr;
  bool pending = false;
  napi_value error = nullptr;
  if (napi_is_exception_pending(env_, &pending) == napi_ok && pending &&
      napi_get_and_clear_last_exception(env_, &error) == napi_ok) {
    napi_fatal_exception(env_, error);
  }
  return false; // a worker may be ending: the loop decides whether there is another turn
}

// Whatever made a channel hot outside of a turn: somebody must arm it again before the loop sleeps.
void host::ensure_turn() {
  if (in_turn_ || waker_ == nullptr || state_->awake != 0 || !hub_->awake()) return;
  state_->awake = 1;
  waker_->request_turn();
}

// ---- life ----

Napi::Value host::ref(const Napi::CallbackInfo&) {
  if (waker_ != nullptr) waker_->ref();
  return env_.Undefined();
}

Napi::Value host::unref(const Napi::CallbackInfo&) {
  if (waker_ != nullptr) waker_->unref();
  return env_.Undefined();
}

Napi::Value host::close(const Napi::CallbackInfo&) {
  shut();
  return env_.Undefined();
}

// Everything that the peers and the file system can see goes at once; the hub itself when its descriptor is not polled
// any more. It may be in the middle of a turn, which ends by itself.
void host::shut() {
  if (hub_ == nullptr) return;
  bound_.reset();
  if (!tearing_down_) {
    for (slot_extras& extras : extras_) detach(extras);
    on_batch_.Reset();
  }
  hub_->stop_listening();
  hub_->remove_all();
  closing_ = std::move(hub_);
  state_->awake = 0;
  const auto finished = [](void* context) {
    auto* const self = static_cast<host*>(context);
    self->closing_.reset();
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

host::slot_extras& host::extras_of(u32 slot) {
  if (slot >= extras_.size()) extras_.resize(slot + 1);
  return extras_[slot];
}

void host::detach(slot_extras& extras) {
  extras.lanes[0].reset();
  extras.lanes[1].reset();
  if (extras.buffer == nullptr) return;
  const Napi::HandleScope scope{env_};
  napi_value buffer = nullptr;
  if (napi_get_reference_value(env_, extras.buffer, &buffer) == napi_ok && buffer != nullptr) {
    napi_detach_arraybuffer(env_, buffer);
  }
  napi_delete_reference(env_, std::exchange(extras.buffer, nullptr));
}

channel* host::any_channel(const Napi::CallbackInfo& info) {
  return hub_ == nullptr ? nullptr : hub_->find(u32_at(info, 0));
}

channel* host::live_channel(const Napi::CallbackInfo& info) {
  channel* const which = any_channel(info);
  return which != nullptr && which->reading ? which : nullptr;
}

} // namespace spanwire::binding
