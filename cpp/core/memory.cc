#include "core/memory.h"

#include <algorithm>
#include <mutex>
#include <new>
#include <optional>
#include <vector>

#include "core/huge_pages.h"

#ifdef __linux__
#include <pthread.h>
#include <unistd.h>
#endif

namespace neocog {
namespace {

constexpr std::align_val_t kAligned{kAlignment};
// Blocks of at least this many bytes have huge pages of their own.
constexpr size_t kHuge = size_t{16} << 20;
constexpr size_t kAlwaysKept = size_t{256} << 20;

// The sanitizer must see every block and every release.
#if defined(__SANITIZE_ADDRESS__)
constexpr bool kReuse = false;
#else
constexpr bool kReuse = true;
#endif

bool shares_pages(size_t bytes) {
  return kReuse && kInHugePages <= bytes && bytes < kHuge;
}

size_t quarter_of_the_machine() {
#ifdef __linux__
  const long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
  if (pages > 0 && page > 0) return static_cast<size_t>(pages) / 4 * static_cast<size_t>(page);
#endif
  return kAlwaysKept;
}

// Large blocks: those that wait, and how much is in use.
class Keeper {
 public:
  // Never destroyed: arrays may outlive the library's static objects.
  static Keeper& get() {
    static Keeper& keeper = *new Keeper;
    return keeper;
  }

  Block acquire(size_t bytes) {
    {
      const std::lock_guard lock(mutex_);
      // The newest that fits without wasting more than an eighth: its memory is the likeliest to be in a
      // cache.
      for (size_t i = blocks_.size(); i-- > 0;) {
        const Block block = blocks_[i];
        if (block.size < bytes || block.size - bytes > bytes / 8) continue;
        blocks_.erase(blocks_.begin() + static_cast<std::ptrdiff_t>(i));
        kept_ -= block.size;
        count(block.size);
        return block;
      }
    }
    const Block block = allocate_block(bytes);
    {
      const std::lock_guard lock(mutex_);
      count(bytes);
    }
    free_beyond_limit();
    return block;
  }

  void release(Block block) noexcept {
    try {
      const std::lock_guard lock(mutex_);
      used_ -= block.size;
      blocks_.push_back(block);
      kept_ += block.size;
    } catch (const std::bad_alloc&) {
      free_block(block);
    }
    free_beyond_limit();
  }

  size_t empty() noexcept {
    std::vector<Block> dropped;
    {
      const std::lock_guard lock(mutex_);
      dropped.swap(blocks_);
      kept_ = 0;
      most_used_ = used_;
    }
    size_t bytes = 0;
    for (const Block block : dropped) {
      bytes += block.size;
      free_block(block);
    }
    return bytes;
  }

 private:
  Keeper() {
#ifdef __linux__
    // A child of fork() must not inherit a lock that another thread held.
    pthread_atfork([] { get().mutex_.lock(); }, [] { get().mutex_.unlock(); }, [] { get().mutex_.unlock(); });
#endif
  }

  void count(size_t bytes) {
    used_ += bytes;
    most_used_ = std::max(most_used_, used_);
  }

  void free_beyond_limit() noexcept {
    while (const auto block = oldest_beyond_limit()) free_block(*block);
  }

  std::optional<Block> oldest_beyond_limit() noexcept {
    const std::lock_guard lock(mutex_);
    const size_t limit = kReuse ? std::max(kAlwaysKept, std::min(most_used_ - used_, machine_)) : 0;
    if (kept_ <= limit) return std::nullopt;
    const Block block = blocks_.front();
    blocks_.erase(blocks_.begin());
    kept_ -= block.size;
    return block;
  }

  std::mutex mutex_;
  std::vector<Block> blocks_;  // oldest first
  size_t kept_ = 0, used_ = 0, most_used_ = 0;
  const size_t machine_ = quarter_of_the_machine();
};

}  // namespace

Block allocate_block(size_t bytes) {
  if (shares_pages(bytes)) return {HugePages::get().allocate(bytes), bytes};
  if (bytes >= kHuge) return {allocate_huge_pages(bytes), bytes};
  return {static_cast<std::byte*>(::operator new(bytes, kAligned)), bytes};
}

void free_block(Block block) noexcept {
  if (shares_pages(block.size))
    HugePages::get().free(block.data, block.size);
  else if (block.size >= kHuge)
    free_huge_pages(block.data);
  else
    ::operator delete(block.data, kAligned);
}

Block acquire_block(size_t bytes) {
  return bytes < kKeptBlock ? allocate_block(bytes) : Keeper::get().acquire(bytes);
}

void release_block(Block block) noexcept {
  if (block.size < kKeptBlock)
    free_block(block);
  else
    Keeper::get().release(block);
}

size_t free_kept_blocks() noexcept {
  const size_t bytes = Keeper::get().empty();
  HugePages::get().trim();
  return bytes;
}

}  // namespace neocog
