// Runs every registered test, or those whose name contains the first argument.
#include <cstring>

#include "check.hpp"

int main(int argc, char** argv) {
  int failures = 0;
  int ran = 0;
  for (const auto& test : check::all_tests()) {
    if (argc > 1 && std::strstr(test.name, argv[1]) == nullptr) continue;
    ++ran;
    try {
      test.body();
      std::printf("ok - %s\n", test.name);
    } catch (const check::failed&) {
      ++failures;
      std::printf("not ok - %s\n", test.name);
    }
    std::fflush(stdout);
  }
  std::printf("%d tests, %d failed\n", ran, failures);
  return failures == 0 && ran > 0 ? 0 : 1;
}
