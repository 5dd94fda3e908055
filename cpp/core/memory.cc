#include "core/memory.h"

#include <mutex>
#include <new>
#include <vector>

#ifdef __linux__
#include <sys/mman.h>
#endif

namespace neocog {
namespace {

constexpr std::align_val_t kLine{64}, kHugePage{size_t{2} << 20};
constexpr size_t kCached = size_t{1} << 20, kHuge = size_t{4} << 20;
#if defined(__SANITIZE_ADDRESS__)
constexpr size_t kKeep = 0;  // the sanitizer must see every release
#else
constexpr size_t kKeep = size_t{256} << 20;
#endif

struct Waiting {
  std::mutex mutex;
  std::vector<Block> blocks;  // oldest first
  size_t bytes = 0;
};
// Never destroyed: arrays may outlive the library's static objects.
Waiting& waiting() {
  static Waiting& w = *new Waiting;
  return w;
}

}  // namespace

Block allocate_block(size_t bytes) {
  if (bytes < kHuge) return {static_cast<std::byte*>(::operator new(bytes, kLine)), bytes};
  Block block{static_cast<std::byte*>(::operator new(bytes, kHugePage)), bytes};
#ifdef __linux__
  madvise(block.data, bytes, MADV_HUGEPAGE);  // a hint: failure costs speed only
#endif
  return block;
}

void free_block(Block block) noexcept {
  ::operator delete(block.data, block.size >= kHuge ? kHugePage : kLine);
}

Block acquire_block(size_t bytes) {
  if (bytes < kCached) return allocate_block(bytes);
  {
    Waiting& w = waiting();
    const std::lock_guard lock(w.mutex);
    // The newest that fits without wasting more than an eighth: its memory is the likeliest to be in a cache.
    for (size_t i = w.blocks.size(); i-- > 0;) {
      const Block block = w.blocks[i];
      if (block.size < bytes || block.size - bytes > bytes / 8) continue;
      w.blocks.erase(w.blocks.begin() + static_cast<std::ptrdiff_t>(i));
      w.bytes -= block.size;
      return block;
    }
  }
  return allocate_block(bytes);
}

void release_block(Block block) noexcept {
  if (block.size < kCached || block.size > kKeep) {
    free_block(block);
    return;
  }
  std::vector<Block> dropped;
  try {
    Waiting& w = waiting();
    const std::lock_guard lock(w.mutex);
    w.blocks.push_back(block);
    w.bytes += block.size;
    while (w.bytes > kKeep) {
      dropped.push_back(w.blocks.front());
      w.bytes -= w.blocks.front().size;
      w.blocks.erase(w.blocks.begin());
    }
  } catch (const std::bad_alloc&) {
    dropped.push_back(block);
  }
  for (const Block old : dropped) free_block(old);
}

}  // namespace neocog
