// Outcomes of operations that the operating system can refuse. Nothing here throws.
#pragma once

#include <optional>
#include <utility>
#include <variant>

namespace spanwire::platform {

// Why something failed: the operation (a system call, or a step of this library) and the error number of the system.
struct failure {
  enum class kind : unsigned char {
    system,      // `code` is an errno of `operation`
    unsupported, // this platform has no implementation
    protocol,    // the peer sent what no correct peer sends
  };

  const char* operation;
  int code = 0;
  kind what = kind::system;
};

// A value or a failure.
template <typename T>
class [[nodiscard]] result {
 public:
  result(T value) noexcept : state_{std::in_place_index<0>, std::move(value)} {}
  result(failure reason) noexcept : state_{std::in_place_index<1>, reason} {}

  [[nodiscard]] explicit operator bool() const noexcept { return state_.index() == 0; }
  [[nodiscard]] T& operator*() noexcept { return *std::get_if<0>(&state_); }
  [[nodiscard]] T* operator->() noexcept { return std::get_if<0>(&state_); }
  [[nodiscard]] const failure& error() const noexcept { return *std::get_if<1>(&state_); }

 private:
  std::variant<T, failure> state_;
};

// Success, or a failure.
template <>
class [[nodiscard]] result<void> {
 public:
  result() noexcept = default;
  result(failure reason) noexcept : reason_{reason} {}

  [[nodiscard]] explicit operator bool() const noexcept { return !reason_.has_value(); }
  [[nodiscard]] const failure& error() const noexcept { return *reason_; }

 private:
  std::optional<failure> reason_;
};

} // namespace spanwire::platform
