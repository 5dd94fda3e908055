#include "core/huge_pages.h"

#include <algorithm>
#include <cstdint>
#include <new>

#include "core/memory.h"

#ifdef __linux__
#include <pthread.h>
#include <sys/mman.h>
#endif

namespace neocog {
namespace {

constexpr std::align_val_t kAligned{HugePages::kPage};

// What a block takes of a region: no two have the same address.
size_t taken(size_t bytes) {
  return in_lines(std::max<size_t>(1, bytes));
}

}  // namespace

std::byte* allocate_huge_pages(size_t bytes) {
  auto* const data = static_cast<std::byte*>(::operator new(bytes, kAligned));
#ifdef __linux__
  madvise(data, bytes, MADV_HUGEPAGE);  // a hint: failure costs speed only
#endif
  return data;
}

void free_huge_pages(std::byte* data) noexcept {
  ::operator delete(data, kAligned);
}

HugePages& HugePages::get() {
  static HugePages& pages = *[] {
    auto* const made = new HugePages;
#ifdef __linux__
    // A child of fork() must not inherit a lock that another thread held.
    pthread_atfork([] { get().mutex_.lock(); }, [] { get().mutex_.unlock(); }, [] { get().mutex_.unlock(); });
#endif
    return made;
  }();
  return pages;
}

HugePages::~HugePages() {
  for (std::byte* const start : regions_) free_huge_pages(start);
}

std::byte* HugePages::allocate(size_t bytes) {
  if (bytes > kRegion) throw std::bad_alloc();
  const size_t size = taken(bytes);
  const std::lock_guard lock(mutex_);
  const auto best = [&] {
    auto found = spans_.end();
    for (auto span = spans_.begin(); span != spans_.end(); ++span) {
      if (span->size >= size && (found == spans_.end() || span->size < found->size)) found = span;
    }
    return found;
  };
  // Every free span begins a region or follows a block: with this one and a new region there are never more,
  // so that free() needs no memory.
  spans_.reserve(blocks_ + 1 + regions_.size() + 1);
  auto span = best();
  if (span == spans_.end()) {
    add_region();
    span = best();
  }
  std::byte* const data = span->data;
  if (span->size == size)
    spans_.erase(span);
  else
    *span = {data + size, span->size - size};
  ++blocks_;
  return data;
}

void HugePages::free(std::byte* data, size_t bytes) noexcept {
  const std::lock_guard lock(mutex_);
  --blocks_;
  const Span span{data, taken(bytes)};
  const auto region_begins = [&](const std::byte* at) {
    return std::ranges::find(regions_, at) != regions_.end();
  };
  const auto next = std::ranges::lower_bound(spans_, data, {}, &Span::data);
  const bool joins_next = next != spans_.end() && next->data == span.end() && !region_begins(next->data);
  const bool joins_last = next != spans_.begin() && (next - 1)->end() == data && !region_begins(data);
  if (joins_last) {
    (next - 1)->size += span.size;
    if (joins_next) {
      (next - 1)->size += next->size;
      spans_.erase(next);
    }
  } else if (joins_next) {
    *next = {data, span.size + next->size};
  } else {
    spans_.insert(next, span);
  }
  // One empty region waits, lest a block that comes and goes maps and clears one each time.
  const auto empty = [](const Span& s) { return s.size == kRegion; };
  if (std::ranges::count_if(spans_, empty) > 1) drop_region(std::ranges::find_if(spans_, empty)->data);
}

void HugePages::trim() noexcept {
  const std::lock_guard lock(mutex_);
  for (size_t i = spans_.size(); i-- > 0;) {
    const Span span = spans_[i];
    if (span.size == kRegion) {
      drop_region(span.data);
      continue;
    }
#ifdef __linux__
    const auto page = [](const std::byte* at) { return reinterpret_cast<std::uintptr_t>(at) / kPage; };
    const size_t first = page(span.data + kPage - 1), end = page(span.end());
    if (first < end) madvise(reinterpret_cast<void*>(first * kPage), (end - first) * kPage, MADV_DONTNEED);
#endif
  }
}

size_t HugePages::regions() const {
  const std::lock_guard lock(mutex_);
  return regions_.size();
}

void HugePages::add_region() {
  regions_.reserve(regions_.size() + 1);
  std::byte* const data = allocate_huge_pages(kRegion);
  regions_.push_back(data);
  spans_.insert(std::ranges::lower_bound(spans_, data, {}, &Span::data), {data, kRegion});
}

void HugePages::drop_region(std::byte* start) noexcept {
  spans_.erase(std::ranges::find(spans_, start, &Span::data));
  regions_.erase(std::ranges::find(regions_, start));
  free_huge_pages(start);
}

}  // namespace neocog
