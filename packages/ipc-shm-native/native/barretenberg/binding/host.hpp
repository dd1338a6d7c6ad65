// One wire as JavaScript sees it: an object of functions, a batch that both sides read, and the turns on its thread.
//
// There is no global state: everything belongs to the environment that made it. A host lives as long as one of its
// functions or its waker does, so neither garbage collection nor the end of a worker can take it away too early.
#pragma once

#include <napi.h>

#include "../../binding/waker.hpp"
#include "../../platform/poller.hpp"
#include "../inbox.hpp"
#include "../watcher.hpp"

namespace spanwire::barretenberg {

// The words of `state`, an Int32Array that both sides read.
struct state_words {
  std::int32_t awake;      // written here. 1: a turn runs or will; 0: asleep, so who waits for an answer must `kick`
  std::int32_t expecting;  // written by JavaScript. Not 0: a message may come, so spinning may pay
  std::int32_t paused;     // written by JavaScript. Not 0: messages stay in the ring
  std::int32_t chunk_used; // written by both: how much of the chunk holds messages
  std::int32_t guarded;    // written here. 0: who expects an answer must `kick`, so that the ring is looked after
};

// One message of a batch.
struct entry {
  std::int32_t offset; // in the chunk; -1: it is large and still in the ring, to be taken by `takeLarge`
  std::int32_t length;
};

enum class event : std::int32_t {
  room = 1,   // what `wantRoom` asked for is there
  gone = 2,   // the peer's process ended, and all that it sent was delivered
  left = 3,   // the peer said that it leaves, and all that it sent was delivered
  broken = 4, // the peer broke a ring: see `fault`
};

class host final : private binding::woken, private ward {
 public:
  // createBarretenberg(options): see src/barretenberg/addon.ts, which types what is made here.
  [[nodiscard]] static Napi::Value create(const Napi::CallbackInfo& info);

  host(const host&) = delete;
  host& operator=(const host&) = delete;

 private:
  enum class turn_end : u8 { asleep, busy, stopped };

  explicit host(Napi::Env env) : env_{env} {}
  ~host() = default;

  [[nodiscard]] result<void> start_waking(Napi::Env env, bool by_thread);
  [[nodiscard]] Napi::Object make_object();
  using method = napi_value (host::*)(napi_callback_info info);
  template <method called>
  static napi_value call(napi_env env, napi_callback_info info);
  template <method called>
  void add_method(Napi::Object& object, const char* name);

  // ---- the functions; the TypeScript declaration documents them ----
  napi_value send(napi_callback_info info);
  napi_value use_chunk(napi_callback_info info);
  napi_value take_large(napi_callback_info info);
  napi_value collect(napi_callback_info info);
  napi_value kick(napi_callback_info info);
  napi_value want_room(napi_callback_info info);
  napi_value request(napi_callback_info info);
  napi_value find_peer(napi_callback_info info);
  napi_value settle(napi_callback_info info);
  napi_value peer_waits(napi_callback_info info);
  napi_value abandoned(napi_callback_info info);
  napi_value reuse(napi_callback_info info);
  napi_value remove_names(napi_callback_info info);
  napi_value fault_text(napi_callback_info info);
  napi_value ref(napi_callback_info info);
  napi_value unref(napi_callback_info info);
  napi_value close(napi_callback_info info);

  // ---- on the watcher's thread ----
  void tick() noexcept override;

  // ---- turns ----
  void on_ready() override;
  void on_turn() override;
  void run_turn();
  [[nodiscard]] turn_end turn();
  [[nodiscard]] u32 take_batch();
  [[nodiscard]] bool arm();
  void disarm();
  [[nodiscard]] bool room_came();
  [[nodiscard]] std::optional<event> ending();
  [[nodiscard]] bool deliver(Napi::FunctionReference& callback, std::int32_t argument);
  void ensure_turn();

  // ---- life ----
  void shut();
  void retain() { ++holders_; }
  void let_go();

  [[nodiscard]] result<process> look_for_peer();

  Napi::Env env_;
  role side_ = role::client;
  std::unique_ptr<wire> wire_; // null once closed
  std::unique_ptr<inbox> inbox_;
  std::unique_ptr<watcher> watcher_; // uses the two before it
  std::optional<platform::poller> poller_; // what the waker polls: the watcher, and the peer's end
  binding::waker* waker_ = nullptr;        // null in blocking form, and once closed
  Napi::Reference<Napi::Int32Array> batch_reference_;
  Napi::Reference<Napi::Int32Array> state_reference_;
  Napi::Reference<Napi::Uint8Array> chunk_reference_;
  std::span<entry> batch_;
  std::span<std::byte> chunk_;
  state_words* state_ = nullptr;
  Napi::FunctionReference on_batch_;
  Napi::FunctionReference on_event_;
  std::int64_t work_limit_ns_ = 0;
  std::int64_t asleep_since_ns_ = 0; // 0: not asleep, or without expecting anything
  u64 wanted_room_ = 0;              // payload bytes plus one; 0: none
  u32 owed_ = 0;                     // answers that come too late for who asked
  bool attached_ = false;            // the peer may know this side
  bool armed_ = false;
  bool peer_ended_ = false;
  bool over_ = false; // the end was reported
  bool in_turn_ = false;
  bool tearing_down_ = false;
  napi_async_cleanup_hook_handle cleanup_hook_ = nullptr;
  unsigned holders_ = 0;
};

} // namespace spanwire::barretenberg
