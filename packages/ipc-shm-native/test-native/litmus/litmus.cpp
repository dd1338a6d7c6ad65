// The C++ side of the litmus test: the sleeper's half of the wake-up handshake, from the product's own header, in a
// thread beside JavaScript. See litmus.mjs.
#include <node_api.h>

#include <atomic>
#include <thread>
#include <vector>

#include "../../native/ring/words.hpp"

namespace {

using spanwire::ring::u32;

constexpr u32 rounds_per_batch = 512;
constexpr u32 words_per_line = spanwire::ring::line_bytes / 4;

// Two lines per round, then one line for the progress of each side.
struct memory {
  u32* words;

  u32& head(u32 round) const { return words[2 * round * words_per_line]; }
  u32& waiting(u32 round) const { return words[(2 * round + 1) * words_per_line]; }
  u32& javascript_round() const { return words[2 * rounds_per_batch * words_per_line]; }
  u32& native_round() const { return words[(2 * rounds_per_batch + 1) * words_per_line]; }
};
constexpr u32 total_words = (2 * rounds_per_batch + 2) * words_per_line;

alignas(128) u32 storage[total_words];
std::vector<unsigned char> saw_head(rounds_per_batch);
std::thread sleeper;

template <std::memory_order order>
void sleep_for_batch() {
  const memory all{storage};
  for (u32 round = 0; round < rounds_per_batch; ++round) {
    // Both sides start a round together, and the offset between them sweeps over some nanoseconds.
    std::atomic_ref(all.native_round()).store(round + 1);
    while (std::atomic_ref(all.javascript_round()).load() < round + 1) {}
    for (u32 delay = round % 48; delay > 0; --delay) std::atomic_signal_fence(std::memory_order_seq_cst);
    spanwire::ring::announce_sleep<order>(all.waiting(round));
    saw_head[round] = spanwire::ring::load_position(all.head(round)) != 0;
  }
}

// buffer(): the words, in an ArrayBuffer on foreign memory, as in the product.
napi_value buffer(napi_env env, napi_callback_info) {
  napi_value result = nullptr;
  napi_create_external_arraybuffer(env, storage, sizeof storage, [](napi_env, void*, void*) {}, nullptr, &result);
  return result;
}

// start(weak): zeroes the words and starts the sleeper on one batch.
napi_value start(napi_env env, napi_callback_info info) {
  std::size_t count = 1;
  napi_value argument = nullptr;
  napi_get_cb_info(env, info, &count, &argument, nullptr, nullptr);
  bool weak = false;
  napi_get_value_bool(env, argument, &weak);
  for (u32& word : storage) word = 0;
  sleeper = weak ? std::thread{sleep_for_batch<std::memory_order_release>}
                 : std::thread{sleep_for_batch<std::memory_order_seq_cst>};
  return nullptr;
}

// finish(): what the sleeper saw, as an array of 0 and 1.
napi_value finish(napi_env env, napi_callback_info) {
  sleeper.join();
  void* data = nullptr;
  napi_value bytes = nullptr;
  napi_create_arraybuffer(env, rounds_per_batch, &data, &bytes);
  for (u32 i = 0; i < rounds_per_batch; ++i) static_cast<unsigned char*>(data)[i] = saw_head[i];
  napi_value result = nullptr;
  napi_create_typedarray(env, napi_uint8_array, rounds_per_batch, bytes, 0, &result);
  return result;
}

} // namespace

NAPI_MODULE_INIT() {
  const auto set = [&](const char* name, napi_callback body) {
    napi_value function = nullptr;
    napi_create_function(env, name, NAPI_AUTO_LENGTH, body, nullptr, &function);
    napi_set_named_property(env, exports, name, function);
  };
  set("buffer", buffer);
  set("start", start);
  set("finish", finish);
  return exports;
}
