// One hub as JavaScript sees it: an object of functions, a batch that both sides read, and the turns on its thread.
//
// There is no global state: everything belongs to the environment that made it. A host lives as long as one of its
// functions or its waker does, so neither garbage collection nor the end of a worker can take it away too early.
#pragma once

#include <napi.h>

#include <vector>

#include "../pump/hub.hpp"
#include "waker.hpp"

namespace spanwire::binding {

// The words of `state`, an Int32Array that both sides read.
struct state_words {
  std::int32_t awake;     // written here. 1: a turn runs or will; 0: asleep, so who waits for an answer must `kick`
  std::int32_t expecting; // written by JavaScript. Not 0: an answer or a request may come, so spinning may pay
  std::int32_t patience;  // written by JavaScript. How often `collect` looks again before it says that nothing is there
  std::int32_t hopeless;  // written here. 1: nothing was there, and looking on keeps the peer from running
};

class host final : private woken {
 public:
  // createHub(options): see src/native/addon.ts, which types what is made here.
  [[nodiscard]] static Napi::Value create(const Napi::CallbackInfo& info);

  host(const host&) = delete;
  host& operator=(const host&) = delete;

 private:
  // What the copying path keeps per slot, and the views to take away when the slot goes.
  struct slot_extras {
    napi_ref buffer = nullptr;
    std::optional<ring::producer> lanes[2];
  };

  explicit host(Napi::Env env) : env_{env} {}
  ~host() = default;

  [[nodiscard]] Napi::Object make_object();
  using method = Napi::Value (host::*)(const Napi::CallbackInfo&);
  template <method called>
  static Napi::Value call(const Napi::CallbackInfo& info);
  template <method called>
  void add_method(Napi::Object& object, const char* name);

  // ---- the functions; the TypeScript declaration documents them ----
  Napi::Value bind(const Napi::CallbackInfo& info);
  Napi::Value publish(const Napi::CallbackInfo& info);
  Napi::Value stop_listening(const Napi::CallbackInfo& info);
  Napi::Value connect(const Napi::CallbackInfo& info);
  Napi::Value peer(const Napi::CallbackInfo& info);
  Napi::Value send_handshake(const Napi::CallbackInfo& info);
  Napi::Value receive_handshake(const Napi::CallbackInfo& info);
  Napi::Value create_memory(const Napi::CallbackInfo& info);
  Napi::Value open_memory(const Napi::CallbackInfo& info);
  Napi::Value memory(const Napi::CallbackInfo& info);
  Napi::Value go_live(const Napi::CallbackInfo& info);
  Napi::Value remove(const Napi::CallbackInfo& info);
  Napi::Value collect(const Napi::CallbackInfo& info);
  Napi::Value look(const Napi::CallbackInfo& info);
  Napi::Value wait(const Napi::CallbackInfo& info);
  Napi::Value ring(const Napi::CallbackInfo& info);
  Napi::Value kick(const Napi::CallbackInfo& info);
  Napi::Value want_room(const Napi::CallbackInfo& info);
  Napi::Value pause(const Napi::CallbackInfo& info);
  Napi::Value write(const Napi::CallbackInfo& info);
  Napi::Value read(const Napi::CallbackInfo& info);
  Napi::Value published(const Napi::CallbackInfo& info);
  Napi::Value release(const Napi::CallbackInfo& info);
  Napi::Value ref(const Napi::CallbackInfo& info);
  Napi::Value unref(const Napi::CallbackInfo& info);
  Napi::Value close(const Napi::CallbackInfo& info);

  // ---- turns ----
  void on_ready() override;
  void on_turn() override;
  void run_turn();
  [[nodiscard]] bool deliver(pump::u32 count);
  void ensure_turn();

  // ---- life ----
  void shut();
  void retain() { ++holders_; }
  void let_go();
  [[nodiscard]] slot_extras& extras_of(pump::u32 slot);
  void detach(slot_extras& extras);
  [[nodiscard]] pump::channel* live_channel(const Napi::CallbackInfo& info);
  [[nodiscard]] pump::channel* any_channel(const Napi::CallbackInfo& info);

  Napi::Env env_;
  std::unique_ptr<pump::hub> hub_;    // null once closed
  std::unique_ptr<pump::hub> closing_; // from then on until nobody polls its descriptor
  std::optional<platform::listener> bound_; // between bind and publish
  Napi::Reference<Napi::Int32Array> batch_reference_;
  Napi::Reference<Napi::Int32Array> state_reference_;
  Napi::Reference<Napi::Int32Array> copies_reference_; // empty where nothing is copied
  std::span<pump::entry> batch_;
  state_words* state_ = nullptr;
  Napi::FunctionReference on_batch_;
  waker* waker_ = nullptr; // null in blocking form, and once closed
  bool in_turn_ = false;
  std::vector<slot_extras> extras_;
  napi_async_cleanup_hook_handle cleanup_hook_ = nullptr;
  bool tearing_down_ = false;
  unsigned holders_ = 0;
};

} // namespace spanwire::binding
