// The addon: functions without state. Everything that lives belongs to a host.
#include <napi.h>

#include "../barretenberg/binding/exports.hpp"
#include "errors.hpp"
#include "host.hpp"

namespace spanwire::binding {

using ring::u32;

namespace {

// The name that `connect` takes to wait for the lock of an address.
Napi::Value lock_name(const Napi::CallbackInfo& info) {
  auto name = platform::address_lock::name_for(info[0].ToString().Utf8Value());
  if (!name) return throw_failure(info.Env(), name.error());
  return Napi::String::New(info.Env(), *name);
}

// Whether this runtime allows an ArrayBuffer on memory of ours. Electron and others with pointer cages do not.
Napi::Value has_external_buffers(const Napi::CallbackInfo& info) {
  auto* const bytes = new std::byte[8]{};
  napi_value buffer = nullptr;
  const auto release = [](napi_env, void* data, void*) { delete[] static_cast<std::byte*>(data); };
  const bool allowed =
      napi_create_external_arraybuffer(info.Env(), bytes, 8, release, nullptr, &buffer) == napi_ok;
  if (!allowed) delete[] bytes;
  return Napi::Boolean::New(info.Env(), allowed);
}

// What layout.hpp says, for the test that the TypeScript twin agrees.
Napi::Object layout(Napi::Env env) {
  using namespace ring;
  const std::pair<const char*, std::size_t> values[] = {
      {"segmentMagic", segment_magic},
      {"segmentVersion", segment_version},
      {"lineBytes", line_bytes},
      {"recordAlignment", record_alignment},
      {"recordHeaderBytes", record_header_bytes},
      {"recordLengthMask", record_length_mask},
      {"minRingBytes", min_ring_bytes},
      {"maxRingBytes", max_ring_bytes},
      {"controlPrefixBytes", control_prefix_bytes},
      {"maxControlPayloadBytes", max_control_payload_bytes},
      {"requestProducerLine", offsetof(control_block, request_producer)},
      {"requestConsumerLine", offsetof(control_block, request_consumer)},
      {"responseProducerLine", offsetof(control_block, response_producer)},
      {"responseConsumerLine", offsetof(control_block, response_consumer)},
      {"serverLine", offsetof(control_block, server)},
      {"clientLine", offsetof(control_block, client)},
      {"dataHead", offsetof(producer_line, data_head)},
      {"controlHead", offsetof(producer_line, control_head)},
      {"dataTail", offsetof(consumer_line, data_tail)},
      {"controlTail", offsetof(consumer_line, control_tail)},
      {"waitingData", offsetof(side_line, waiting_data)},
      {"waitingSpace", offsetof(side_line, waiting_space)},
      {"controlLane", static_cast<u32>(pump::control_lane)},
      {"eventBit", static_cast<u32>(pump::event_bit)},
      {"slotMask", static_cast<u32>(pump::slot_mask)},
      {"copyPlaceBytes", pump::copy_place_bytes},
      {"copyPlaces", pump::copy_places},
      {"eventAccepted", static_cast<u32>(pump::event::accepted)},
      {"eventReadable", static_cast<u32>(pump::event::readable)},
      {"eventClosed", static_cast<u32>(pump::event::closed)},
      {"eventViolated", static_cast<u32>(pump::event::violated)},
      {"eventRoom", static_cast<u32>(pump::event::room)},
      {"eventRefused", static_cast<u32>(pump::event::refused)},
      {"eventDeaf", static_cast<u32>(pump::event::deaf)},
  };
  Napi::Object result = Napi::Object::New(env);
  for (const auto& [name, value] : values) result.Set(name, Napi::Number::New(env, static_cast<double>(value)));
  return result;
}

// Where the areas of a mapping are, for the same test: [request control, response control, request, response, bytes].
Napi::Value areas(const Napi::CallbackInfo& info) {
  u32 numbers[5]{};
  for (std::size_t i = 0; i < 5; ++i) napi_get_value_uint32(info.Env(), info[i], &numbers[i]);
  const auto where = ring::geometry::of(numbers[0], numbers[1], numbers[2], numbers[3], numbers[4]);
  if (!where) return info.Env().Undefined();
  const ring::u64 offsets[] = {where->request_control.mapping_offset, where->response_control.mapping_offset,
                               where->request.mapping_offset, where->response.mapping_offset, where->mapping_bytes};
  Napi::Array result = Napi::Array::New(info.Env(), 5);
  for (u32 i = 0; i < 5; ++i) result.Set(i, Napi::Number::New(info.Env(), static_cast<double>(offsets[i])));
  return result;
}

// What a violation says, in words.
Napi::Value describe_violation(const Napi::CallbackInfo& info) {
  u32 what = 0;
  u32 detail = 0;
  napi_get_value_uint32(info.Env(), info[0], &what);
  napi_get_value_uint32(info.Env(), info[1], &detail);
  const char* const fault = ring::describe(static_cast<ring::fault>(detail));
  std::string text;
  switch (static_cast<pump::violation>(what)) {
    case pump::violation::data_ring: text = std::string{"data ring: "} + fault; break;
    case pump::violation::control_ring: text = std::string{"control ring: "} + fault; break;
    case pump::violation::control_size: text = "control record of impossible size"; break;
    case pump::violation::doorbell: text = "more doorbell rings than were asked for"; break;
    case pump::violation::descriptors: text = "file descriptors on the doorbell"; break;
  }
  return Napi::String::New(info.Env(), text);
}

Napi::Object initialize(Napi::Env env, Napi::Object exports) {
  exports.Set("createHub", Napi::Function::New<host::create>(env, "createHub"));
  exports.Set("lockName", Napi::Function::New<lock_name>(env, "lockName"));
  exports.Set("hasExternalBuffers", Napi::Function::New<has_external_buffers>(env, "hasExternalBuffers"));
  exports.Set("describeViolation", Napi::Function::New<describe_violation>(env, "describeViolation"));
  exports.Set("areas", Napi::Function::New<areas>(env, "areas"));
  exports.Set("layout", layout(env));
#if defined(SPANWIRE_BARRETENBERG)
  barretenberg::add_exports(env, exports);
#endif
  return exports;
}

} // namespace

NODE_API_MODULE(spanwire, initialize)

} // namespace spanwire::binding
