// Blocks that share huge pages.
#pragma once

#include <cstddef>
#include <mutex>
#include <vector>

namespace neocog {

// Deals out blocks of some kilobytes to some megabytes from regions of huge pages. In pages of 4 KB the
// weights of a network are thousands of pages, more than the processor can translate without walking its
// tables; and they fall by chance on the sets of the second-level cache, which can then hold less than it is
// large. Thread-safe.
class HugePages {
 public:
  static constexpr size_t kPage = size_t{2} << 20, kRegion = 32 * kPage;

  // Never destroyed: arrays may outlive the library's static objects.
  static HugePages& get();

  HugePages() = default;
  HugePages(const HugePages&) = delete;
  HugePages& operator=(const HugePages&) = delete;
  ~HugePages();

  // Aligned to a cache line, contents undefined. Throws bad_alloc, always beyond kRegion bytes.
  std::byte* allocate(size_t bytes);
  // `bytes` as in the call that allocated it.
  void free(std::byte* data, size_t bytes) noexcept;
  // Gives regions without blocks back to the system, and the huge pages without blocks of the others.
  void trim() noexcept;

  size_t regions() const;

 private:
  struct Span {
    std::byte* data;
    size_t size;
    std::byte* end() const { return data + size; }
  };

  void add_region();
  void drop_region(std::byte* start) noexcept;

  mutable std::mutex mutex_;
  std::vector<std::byte*> regions_;
  std::vector<Span> spans_;  // free ones by address, none of them beyond its region
  size_t blocks_ = 0;
};

// Aligned to huge pages and asked for as such; also for blocks too large for HugePages. Throws bad_alloc.
std::byte* allocate_huge_pages(size_t bytes);
void free_huge_pages(std::byte* data) noexcept;

}  // namespace neocog
