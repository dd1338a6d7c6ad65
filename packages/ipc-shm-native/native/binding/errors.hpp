// Failures of the platform as JavaScript errors. TypeScript turns them into IpcErrors; the words here are for it.
#pragma once

#include <napi.h>

#include "../platform/result.hpp"

namespace spanwire::binding {

// An Error with `kind` ("system", "unsupported", "protocol"), `operation` and `errno`.
[[nodiscard]] inline Napi::Error to_error(Napi::Env env, const platform::failure& reason) {
  using kind = platform::failure::kind;
  const char* const what = reason.what == kind::system        ? "system"
                           : reason.what == kind::unsupported ? "unsupported"
                                                              : "protocol";
  Napi::Error error = Napi::Error::New(env, reason.operation);
  error.Set("kind", Napi::String::New(env, what));
  error.Set("operation", Napi::String::New(env, reason.operation));
  error.Set("errno", Napi::Number::New(env, reason.code));
  return error;
}

inline Napi::Value throw_failure(Napi::Env env, const platform::failure& reason) {
  to_error(env, reason).ThrowAsJavaScriptException();
  return env.Undefined();
}

// The binding's only caller is this package, so a wrong argument is a bug there; it must still not crash.
inline Napi::Value throw_misuse(Napi::Env env, const char* message) {
  Napi::TypeError::New(env, message).ThrowAsJavaScriptException();
  return env.Undefined();
}

} // namespace spanwire::binding
