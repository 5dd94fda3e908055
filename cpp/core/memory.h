// Memory of results: aligned, in huge pages where it pays, and kept for the next result of that size.
#pragma once

#include <cstddef>

namespace neocog {

struct Block {
  std::byte* data;
  size_t size;  // at least what was asked for
};

constexpr size_t kAlignment = 64;  // of blocks: a line of the caches

// Bytes of the whole lines that so many bytes take.
constexpr size_t in_lines(size_t bytes) {
  return (bytes + kAlignment - 1) / kAlignment * kAlignment;
}

// Blocks of at least this many bytes lie in huge pages, where the system has any.
constexpr size_t kInHugePages = size_t{16} << 10;

// A block aligned to a line, contents undefined. Throws bad_alloc.
Block allocate_block(size_t bytes);
void free_block(Block block) noexcept;

// Blocks of at least this many bytes wait for reuse when they are released: a fresh large block costs a page
// fault every 4 KB, and even huge pages must be cleared, which takes longer than many kernels.
constexpr size_t kKeptBlock = size_t{1} << 20;

// The same for results. What waits is at most 256 MB, or as much as brings the memory held back to the most
// that was ever in use at once, but no more than a quarter of the machine's. Thread-safe.
Block acquire_block(size_t bytes);
void release_block(Block block) noexcept;

// Frees the blocks that wait; how many bytes they had.
size_t free_kept_blocks() noexcept;

}  // namespace neocog
