#include <uv.h>

#include "waker.hpp"

namespace spanwire::binding {

namespace {

class loop_waker final : public waker {
 public:
  [[nodiscard]] static loop_waker* make(uv_loop_t* loop, int descriptor, woken& target) {
    auto* const made = new loop_waker{target};
    if (uv_poll_init(loop, &made->poll_, descriptor) != 0) {
      delete made;
      return nullptr;
    }
    // These two cannot fail. They only serve the poll handle, so they never keep the loop alive by themselves.
    uv_idle_init(loop, &made->idle_);
    uv_prepare_init(loop, &made->prepare_);
    uv_unref(reinterpret_cast<uv_handle_t*>(&made->idle_));
    uv_unref(reinterpret_cast<uv_handle_t*>(&made->prepare_));
    made->poll_.data = made->idle_.data = made->prepare_.data = made;
    uv_poll_start(&made->poll_, UV_READABLE, [](uv_poll_t* handle, int, int) {
      static_cast<loop_waker*>(handle->data)->target_.on_ready();
    });
    return made;
  }

  // Prepare runs right before the loop polls; idle keeps that poll from sleeping. So between two turns the loop does
  // everything that it has to do.
  void request_turn() override {
    if (requested_) return;
    requested_ = true;
    uv_idle_start(&idle_, [](uv_idle_t*) {});
    uv_prepare_start(&prepare_, [](uv_prepare_t* handle) {
      static_cast<loop_waker*>(handle->data)->target_.on_turn();
    });
  }

  void rest() override {
    if (!requested_) return;
    requested_ = false;
    uv_idle_stop(&idle_);
    uv_prepare_stop(&prepare_);
  }

  void ref() override { uv_ref(reinterpret_cast<uv_handle_t*>(&poll_)); }
  void unref() override { uv_unref(reinterpret_cast<uv_handle_t*>(&poll_)); }

  void close(void (*closed)(void*), void* context) override {
    closed_ = closed;
    context_ = context;
    const auto count = [](uv_handle_t* handle) {
      auto* const self = static_cast<loop_waker*>(handle->data);
      if (--self->open_handles_ > 0) return;
      const auto done = self->closed_;
      void* const argument = self->context_;
      delete self;
      done(argument);
    };
    uv_close(reinterpret_cast<uv_handle_t*>(&poll_), count);
    uv_close(reinterpret_cast<uv_handle_t*>(&idle_), count);
    uv_close(reinterpret_cast<uv_handle_t*>(&prepare_), count);
  }

 private:
  explicit loop_waker(woken& target) : target_{target} {}
  ~loop_waker() override = default;

  woken& target_;
  uv_poll_t poll_{};
  uv_idle_t idle_{};
  uv_prepare_t prepare_{};
  bool requested_ = false;
  int open_handles_ = 3;
  void (*closed_)(void*) = nullptr;
  void* context_ = nullptr;
};

} // namespace

waker* make_loop_waker(Napi::Env env, int descriptor, woken& target) {
  uv_loop_t* loop = nullptr;
  if (napi_get_uv_event_loop(env, &loop) != napi_ok) return nullptr;
  return loop_waker::make(loop, descriptor, target);
}

} // namespace spanwire::binding
