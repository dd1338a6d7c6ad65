// A test harness small enough to need no library: tests register themselves, a failed check ends its test.
#pragma once

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <type_traits>
#include <vector>

namespace check {

struct test_case {
  const char* name;
  void (*body)();
};

inline std::vector<test_case>& all_tests() {
  static std::vector<test_case> tests;
  return tests;
}

struct registration {
  registration(const char* name, void (*body)()) { all_tests().push_back({name, body}); }
};

struct failed {};

template <typename T>
void print_value(const T& value) {
  if constexpr (std::is_enum_v<T>) {
    std::fprintf(stderr, "%lld", static_cast<long long>(value));
  } else if constexpr (std::is_pointer_v<T> || std::is_null_pointer_v<T>) {
    std::fprintf(stderr, "%p", static_cast<const void*>(value));
  } else {
    std::fprintf(stderr, "%lld", static_cast<long long>(value));
  }
}

template <typename A, typename E>
void equal(const A& actual, const E& expected, const char* text, const char* file, int line) {
  if (actual == expected) return;
  std::fprintf(stderr, "%s:%d: expected %s to be ", file, line, text);
  print_value(expected);
  std::fprintf(stderr, ", got ");
  print_value(actual);
  std::fprintf(stderr, "\n");
  throw failed{};
}

inline void holds(bool value, const char* text, const char* file, int line) {
  if (value) return;
  std::fprintf(stderr, "%s:%d: expected %s\n", file, line, text);
  throw failed{};
}

// Reproducible random numbers (splitmix64).
class random {
 public:
  explicit random(std::uint64_t seed) : state_{seed} {}
  std::uint64_t next() {
    state_ += 0x9e37'79b9'7f4a'7c15;
    std::uint64_t z = state_;
    z = (z ^ (z >> 30)) * 0xbf58'476d'1ce4'e5b9;
    z = (z ^ (z >> 27)) * 0x94d0'49bb'1331'11eb;
    return z ^ (z >> 31);
  }
  std::uint32_t below(std::uint32_t bound) { return static_cast<std::uint32_t>(next() % bound); }

 private:
  std::uint64_t state_;
};

} // namespace check

#define CHECK_CONCAT_(a, b) a##b
#define CHECK_CONCAT(a, b) CHECK_CONCAT_(a, b)
#define TEST(name)                                                                                           \
  static void CHECK_CONCAT(test_, __LINE__)();                                                               \
  static const check::registration CHECK_CONCAT(registered_, __LINE__){name, CHECK_CONCAT(test_, __LINE__)}; \
  static void CHECK_CONCAT(test_, __LINE__)()
#define CHECK(condition) check::holds(static_cast<bool>(condition), #condition, __FILE__, __LINE__)
#define CHECK_EQ(actual, expected) check::equal((actual), (expected), #actual, __FILE__, __LINE__)
