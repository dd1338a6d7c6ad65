// What brings the JavaScript thread to its hub: the event loop of libuv, or a thread where that may not be touched.
#pragma once

#include <napi.h>

#include <memory>

namespace spanwire::binding {

// What a waker calls, always on the JavaScript thread, never from inside one of the waker's own functions.
class woken {
 public:
  virtual void on_ready() = 0; // the descriptor is readable
  virtual void on_turn() = 0;  // a turn was asked for

 protected:
  ~woken() = default;
};

class waker {
 public:
  // Soon, after what the loop has to do before, and before it sleeps. Once, or until `rest`.
  virtual void request_turn() = 0;
  // No turn is wanted any more; only the descriptor counts.
  virtual void rest() = 0;
  virtual void ref() = 0;
  virtual void unref() = 0;
  // Calls nothing any more; `closed` runs once nothing of it is left, maybe later. Frees the waker itself.
  virtual void close(void (*closed)(void*), void* context) = 0;

 protected:
  virtual ~waker() = default;
};

// libuv: one poll handle on the descriptor, idle and prepare for turns. Null when the loop refuses it.
[[nodiscard]] waker* make_loop_waker(Napi::Env env, int descriptor, woken& target);

// For runtimes without libuv: a thread polls the descriptor and calls back through a thread-safe function.
[[nodiscard]] waker* make_thread_waker(Napi::Env env, int descriptor, woken& target);

} // namespace spanwire::binding
