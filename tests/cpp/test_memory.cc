// core/huge_pages.h and core/memory.h: blocks do not overlap, what is freed is dealt out again, and regions
// go back. Built with the preset `tsan` it also shows that threads do not race.
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <new>
#include <random>
#include <thread>
#include <vector>

#include "check.h"
#include "core/huge_pages.h"
#include "core/memory.h"

namespace neocog {
namespace {

struct Held {
  std::byte* data;
  size_t size;
  unsigned char mark;

  bool intact() const {
    return std::all_of(data, data + size, [this](std::byte b) { return b == std::byte{mark}; });
  }
};

// Allocates and frees at random, with every byte of a block marked as its own.
void deal(HugePages& pages, unsigned seed) {
  std::mt19937 random(seed);
  std::vector<Held> held;
  for (int step = 0; step < 600; ++step) {
    if (held.empty() || random() % 5 < 3) {
      const size_t size = 1 + random() % (random() % 8 == 0 ? 3u << 20 : 60000u);
      const auto mark = static_cast<unsigned char>(random());
      const Held block{pages.allocate(size), size, mark};
      CHECK(reinterpret_cast<std::uintptr_t>(block.data) % kAlignment == 0);
      std::memset(block.data, mark, size);
      held.push_back(block);
    } else {
      std::swap(held[random() % held.size()], held.back());
      CHECK(held.back().intact());
      pages.free(held.back().data, held.back().size);
      held.pop_back();
    }
  }
  std::ranges::shuffle(held, random);
  for (const Held& block : held) {
    CHECK(block.intact());
    pages.free(block.data, block.size);
  }
}

void blocks_do_not_overlap_and_regions_go_back() {
  HugePages pages;
  CHECK(pages.regions() == 0);
  for (unsigned seed = 0; seed < 4; ++seed) deal(pages, seed);
  CHECK(pages.regions() == 1);  // an empty one waits
  pages.trim();
  CHECK(pages.regions() == 0);
}

void threads_share_regions() {
  HugePages pages;
  std::vector<std::thread> threads;
  for (unsigned seed = 0; seed < 4; ++seed) threads.emplace_back([&pages, seed] { deal(pages, seed); });
  for (std::thread& thread : threads) thread.join();
  pages.trim();
  CHECK(pages.regions() == 0);
}

void freed_neighbours_become_one_block() {
  HugePages pages;
  constexpr size_t kQuarter = HugePages::kRegion / 4;
  std::byte* quarters[4];
  for (std::byte*& quarter : quarters) quarter = pages.allocate(kQuarter);
  CHECK(pages.regions() == 1);
  pages.free(quarters[1], kQuarter);
  pages.free(quarters[2], kQuarter);
  std::byte* const half = pages.allocate(2 * kQuarter);
  CHECK(half == quarters[1]);
  CHECK(pages.regions() == 1);
  std::byte* const more = pages.allocate(HugePages::kRegion);  // nothing is left of the first
  CHECK(pages.regions() == 2);
  pages.free(more, HugePages::kRegion);
  pages.free(quarters[0], kQuarter);
  pages.free(quarters[3], kQuarter);
  CHECK(pages.regions() == 2);
  pages.free(half, 2 * kQuarter);  // both are empty, and one waits
  CHECK(pages.regions() == 1);
}

void a_block_goes_where_it_leaves_least() {
  HugePages pages;
  std::byte *const wide = pages.allocate(4 * 4096), *const wall = pages.allocate(64);
  std::byte *const narrow = pages.allocate(2 * 4096), *const end = pages.allocate(64);
  pages.free(wide, 4 * 4096);
  pages.free(narrow, 2 * 4096);
  CHECK(pages.allocate(2 * 4096 - 63) == narrow);
  CHECK(pages.allocate(3 * 4096) == wide);
  CHECK(pages.allocate(4096) == wide + 3 * 4096);
  CHECK(wall < end);
}

// The block keeps what it holds; pages that came back from the system are clear.
void trimming_gives_back_pages_beside_a_block() {
  HugePages pages;
  constexpr size_t kLarge = 3 * HugePages::kPage;
  std::byte *const before = pages.allocate(kLarge), *const stays = pages.allocate(100);
  std::byte* const after = pages.allocate(kLarge);
  std::memset(stays, 7, 100);
  std::memset(before, 9, kLarge);
  pages.free(before, kLarge);
  pages.free(after, kLarge);
  pages.trim();
  CHECK(std::all_of(stays, stays + 100, [](std::byte b) { return b == std::byte{7}; }));
  CHECK(pages.allocate(kLarge) == before);
#ifdef __linux__
  CHECK(std::all_of(before, before + kLarge, [](std::byte b) { return b == std::byte{0}; }));
#endif
  CHECK(pages.regions() == 1);
}

void blocks_of_no_bytes_are_apart() {
  HugePages pages;
  std::byte *const one = pages.allocate(0), *const other = pages.allocate(0);
  CHECK(one != other);
  pages.free(one, 0);
  pages.free(other, 0);
  pages.trim();
  CHECK(pages.regions() == 0);
}

void more_than_a_region_is_refused() {
  HugePages pages;
  bool refused = false;
  try {
    pages.allocate(HugePages::kRegion + 1);
  } catch (const std::bad_alloc&) {
    refused = true;
  }
  CHECK(refused);
}

void blocks_of_all_sizes_are_whole() {
  std::vector<Block> blocks;
  for (const size_t size : {size_t{1}, size_t{16} << 10, (size_t{16} << 10) - 1, size_t{1} << 20,
                            (size_t{16} << 20) - 1, size_t{16} << 20, (size_t{16} << 20) + 1}) {
    for (const bool result : {false, true}) {
      const Block block = result ? acquire_block(size) : allocate_block(size);
      CHECK(block.size >= size);
      CHECK(reinterpret_cast<std::uintptr_t>(block.data) % kAlignment == 0);
      std::memset(block.data, 1, block.size);
      blocks.push_back(block);
    }
  }
  for (size_t i = 0; i < blocks.size(); ++i) (i % 2 != 0 ? release_block : free_block)(blocks[i]);
  free_kept_blocks();
}

}  // namespace
}  // namespace neocog

int main() {
  using namespace neocog;
  blocks_do_not_overlap_and_regions_go_back();
  threads_share_regions();
  freed_neighbours_become_one_block();
  a_block_goes_where_it_leaves_least();
  trimming_gives_back_pages_beside_a_block();
  blocks_of_no_bytes_are_apart();
  more_than_a_region_is_refused();
  blocks_of_all_sizes_are_whole();
  return tests::result();
}
