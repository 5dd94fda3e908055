#include "core/strict.h"

#include <atomic>

namespace neocog {
namespace {
std::atomic<bool> only_direct{false};
}  // namespace

bool strict() {
  return only_direct.load(std::memory_order_relaxed);
}

void set_strict(bool strict) {
  only_direct.store(strict, std::memory_order_relaxed);
}

}  // namespace neocog
