// Workspace of one call, kept by the calling thread for the next one.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/memory.h"

namespace neocog {

// Aligned memory for the calling thread, at least `bytes` long, contents undefined. One user at a
// time per thread: a kernel asks once, before its parallel region, and deals out the parts.
// Small blocks stay cached in the thread, so a steady state allocates nothing. Throws bad_alloc.
class Scratch {
 public:
  explicit Scratch(size_t bytes);
  ~Scratch();
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  // The next `count` elements of T, aligned to a cache line.
  template <class T>
  T* take(int64_t count) {
    std::byte* part = block_.data + used_;
    used_ += bytes_of<T>(count);
    return reinterpret_cast<T*>(part);
  }
  // What take<T>(count) uses up; add these to size the block.
  template <class T>
  static constexpr size_t bytes_of(int64_t count) {
    return in_lines(static_cast<size_t>(count) * sizeof(T));
  }

 private:
  Block block_;
  size_t used_ = 0;
};

}  // namespace neocog
