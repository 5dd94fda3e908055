// Checks of what a caller gave.
#pragma once

#include <stdexcept>

namespace neocog {

inline void require(bool condition, const char* message) {
  if (!condition) throw std::invalid_argument(message);
}

}  // namespace neocog
