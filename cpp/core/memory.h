// Memory of results: aligned, in huge pages where it pays, and kept for the next result of that size.
#pragma once

#include <cstddef>

namespace neocog {

struct Block {
  std::byte* data;
  size_t size;  // at least what was asked for
};

// A 64-byte aligned block, contents undefined; large ones ask for huge pages. Throws bad_alloc.
Block allocate_block(size_t bytes);
void free_block(Block block) noexcept;

// The same for results. A fresh large block costs a page fault every 4 KB, more than many kernels; so blocks
// of 1 MB and more that are released wait for reuse, up to 256 MB in all. Thread-safe.
Block acquire_block(size_t bytes);
void release_block(Block block) noexcept;

}  // namespace neocog
