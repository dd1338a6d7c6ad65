#include <condition_variable>
#include <mutex>
#include <thread>

#include "../platform/poller.hpp"
#include "waker.hpp"

namespace spanwire::binding {

namespace {

class thread_waker final : public waker {
 public:
  [[nodiscard]] static thread_waker* make(Napi::Env env, int descriptor, woken& target) {
    auto poller = platform::poller::create();
    auto interrupter = platform::interrupter::create();
    if (!poller || !interrupter || !poller->add(descriptor, 0) || !poller->add(interrupter->waits_on.get(), 1)) {
      return nullptr;
    }
    auto* const made = new thread_waker{env, target, std::move(*poller), std::move(*interrupter)};
    const Napi::String name = Napi::String::New(env, "spanwire");
    if (napi_create_threadsafe_function(env, nullptr, nullptr, name, 0, 1, made, &thread_waker::finalized, made,
                                        &thread_waker::called, &made->call_) != napi_ok) {
      delete made;
      return nullptr;
    }
    made->thread_ = std::thread{[made] { made->watch(); }};
    return made;
  }

  void request_turn() override {
    if (std::exchange(requested_, true)) return;
    napi_call_threadsafe_function(call_, nullptr, napi_tsfn_nonblocking);
  }

  void rest() override {
    requested_ = false;
    {
      const std::lock_guard guard{mutex_};
      armed_ = true;
    }
    changed_.notify_one();
  }

  void ref() override { napi_ref_threadsafe_function(env_, call_); }
  void unref() override { napi_unref_threadsafe_function(env_, call_); }

  void close(void (*closed)(void*), void* context) override {
    closed_ = closed;
    context_ = context;
    {
      const std::lock_guard guard{mutex_};
      stopping_ = true;
    }
    changed_.notify_one();
    interrupter_.signal();
    thread_.join(); // at once: it waits for nothing but these two
    napi_release_threadsafe_function(call_, napi_tsfn_abort);
  }

 private:
  thread_waker(napi_env env, woken& target, platform::poller poller, platform::interrupter interrupter)
      : env_{env}, target_{target}, poller_{std::move(poller)}, interrupter_{std::move(interrupter)} {}
  ~thread_waker() override = default;

  void watch() {
    for (;;) {
      {
        std::unique_lock guard{mutex_};
        changed_.wait(guard, [this] { return armed_ || stopping_; });
        if (stopping_) return;
        armed_ = false;
      }
      platform::poller::ready ready[2];
      auto count = poller_.wait(ready, -1);
      if (!count) return;
      if (*count == 0) { // a signal
        const std::lock_guard guard{mutex_};
        armed_ = true;
        continue;
      }
      napi_call_threadsafe_function(call_, nullptr, napi_tsfn_nonblocking);
    }
  }

  // On the JavaScript thread. Whether the thread or a request asked makes no difference.
  static void called(napi_env env, napi_value, void* context, void*) {
    if (env == nullptr) return; // being torn down
    auto* const self = static_cast<thread_waker*>(context);
    self->requested_ = false;
    if (self->closed_ == nullptr) self->target_.on_ready();
  }

  static void finalized(napi_env, void* data, void*) {
    auto* const self = static_cast<thread_waker*>(data);
    const auto done = self->closed_;
    void* const argument = self->context_;
    delete self;
    if (done != nullptr) done(argument);
  }

  napi_env env_;
  woken& target_;
  platform::poller poller_;
  platform::interrupter interrupter_;
  napi_threadsafe_function call_ = nullptr;
  std::thread thread_; // started last
  std::mutex mutex_;
  std::condition_variable changed_;
  bool armed_ = true;
  bool stopping_ = false;
  bool requested_ = false; // only on the JavaScript thread
  void (*closed_)(void*) = nullptr;
  void* context_ = nullptr;
};

} // namespace

waker* make_thread_waker(Napi::Env env, int descriptor, woken& target) {
  return thread_waker::make(env, descriptor, target);
}

} // namespace spanwire::binding
