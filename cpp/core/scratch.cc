#include "core/scratch.h"

#include <new>
#include <utility>

namespace neocog {
namespace {

constexpr std::align_val_t kAlignment{64};
// Blocks up to this size are kept between calls; larger ones go back at once.
constexpr size_t kKeep = size_t{64} << 20;

struct Cache {
  std::byte* data = nullptr;
  size_t size = 0;
  ~Cache() { ::operator delete(data, kAlignment); }
};
thread_local Cache cache;

}  // namespace

Scratch::Scratch(size_t bytes)
    : data_(std::exchange(cache.data, nullptr)), size_(std::exchange(cache.size, 0)) {
  if (size_ >= bytes) return;
  ::operator delete(data_, kAlignment);
  data_ = nullptr;
  data_ = static_cast<std::byte*>(::operator new(bytes, kAlignment));
  size_ = bytes;
}

Scratch::~Scratch() {
  if (size_ > kKeep || cache.size >= size_) {
    ::operator delete(data_, kAlignment);
    return;
  }
  ::operator delete(cache.data, kAlignment);
  cache.data = data_;
  cache.size = size_;
}

}  // namespace neocog
