// The little that the C++ unit tests need: a check that counts, and an exit status for ctest.
#pragma once

#include <cstdio>

namespace neocog::tests {

inline int failures = 0;

inline void check(bool passed, const char* what, const char* file, int line) {
  if (passed) return;
  if (++failures > 20) return;  // the rest would only repeat them
  std::fprintf(stderr, "%s:%d: failed: %s\n", file, line, what);
}

// What main() returns.
inline int result() {
  std::printf("%s\n", failures == 0 ? "passed" : "FAILED");
  return failures == 0 ? 0 : 1;
}

}  // namespace neocog::tests

#define CHECK(condition) ::neocog::tests::check(static_cast<bool>(condition), #condition, __FILE__, __LINE__)
