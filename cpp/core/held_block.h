// A block of memory.h that is given back at the end of a scope.
#pragma once

#include <algorithm>

#include "core/memory.h"

namespace neocog {

struct HeldBlock {
  Block block;

  explicit HeldBlock(size_t bytes) : block(acquire_block(std::max<size_t>(1, bytes))) {}
  HeldBlock(const HeldBlock&) = delete;
  HeldBlock& operator=(const HeldBlock&) = delete;
  ~HeldBlock() { release_block(block); }
  template <class T>
  T* as() const {
    return reinterpret_cast<T*>(block.data);
  }
};

}  // namespace neocog
