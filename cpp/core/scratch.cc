#include "core/scratch.h"

#include <utility>

#include "core/memory.h"

namespace neocog {
namespace {

// Blocks up to this size are kept between calls; larger ones go back at once.
constexpr size_t kKeep = size_t{64} << 20;

struct Cache {
  Block block{nullptr, 0};
  ~Cache() { free_block(block); }
};
thread_local Cache cache;

}  // namespace

Scratch::Scratch(size_t bytes) : block_(std::exchange(cache.block, Block{nullptr, 0})) {
  if (block_.size >= bytes) return;
  free_block(std::exchange(block_, Block{nullptr, 0}));
  block_ = allocate_block(bytes);
}

Scratch::~Scratch() {
  if (block_.size > kKeep || cache.block.size >= block_.size) {
    free_block(block_);
    return;
  }
  free_block(std::exchange(cache.block, block_));
}

}  // namespace neocog
