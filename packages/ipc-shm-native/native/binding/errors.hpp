// Failures of the platform as JavaScript errors. TypeScript turns them into IpcErrors; the words here are for it.
//
// A worker can be terminated at any moment, and then nothing can be thrown any more. So failures to throw are ignored:
// whoever would have caught it does not run again.
#pragma once

#include <napi.h>

#include "../platform/result.hpp"

namespace spanwire::binding {

// Throws an Error with `kind` ("system", "unsupported", "protocol"), `operation` and `errno`.
inline Napi::Value throw_failure(Napi::Env env, const platform::failure& reason) {
  using kind = platform::failure::kind;
  const char* const what = reason.what == kind::system        ? "system"
                           : reason.what == kind::unsupported ? "unsupported"
                                                              : "protocol";
  napi_value error = nullptr;
  napi_value operation = nullptr;
  napi_value kind_name = nullptr;
  napi_value code = nullptr;
  napi_create_string_utf8(env, reason.operation, NAPI_AUTO_LENGTH, &operation);
  napi_create_string_utf8(env, what, NAPI_AUTO_LENGTH, &kind_name);
  napi_create_int32(env, reason.code, &code);
  if (napi_create_error(env, nullptr, operation, &error) == napi_ok) {
    napi_set_named_property(env, error, "kind", kind_name);
    napi_set_named_property(env, error, "operation", operation);
    napi_set_named_property(env, error, "errno", code);
    napi_throw(env, error);
  }
  return env.Undefined();
}

// The binding's only caller is this package, so a wrong argument is a bug there; it must still not crash.
inline Napi::Value throw_misuse(Napi::Env env, const char* message) {
  napi_throw_type_error(env, nullptr, message);
  return env.Undefined();
}

} // namespace spanwire::binding
