// A loop over arrays of one shape and any strides, cut into blocks of rows that the threads share.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <vector>

#include "core/parallel.h"
#include "core/window.h"

namespace neocog {

// One axis of a loop over N arrays; strides in elements, 0 where an array is repeated.
template <int N>
struct LoopAxis {
  int64_t size;
  std::array<int64_t, N> stride;
};

// Rows of n elements of every array: where they begin, and how far they are apart.
template <int N>
struct LoopBlock {
  std::array<int64_t, N> offset, row;
  int64_t rows, n;
};

// The last array is the one that is written: axes are sorted as they lie in it, and merged wherever all
// arrays allow it. Made once, used by any number of calls; same blocks for any number of threads.
template <int N>
class StridedLoop {
 public:
  explicit StridedLoop(std::vector<LoopAxis<N>> axes) {
    std::erase_if(axes, [](const LoopAxis<N>& axis) { return axis.size == 1; });
    std::stable_sort(axes.begin(), axes.end(), [](const LoopAxis<N>& a, const LoopAxis<N>& b) {
      return a.stride[N - 1] > b.stride[N - 1];
    });
    for (const LoopAxis<N>& axis : axes) {
      if (!outer_.empty() && follows(outer_.back(), axis)) {
        outer_.back() = {outer_.back().size * axis.size, axis.stride};
      } else {
        outer_.push_back(axis);
      }
    }
    inner_ = take({1, unit()});
    rows_ = take({1, {}});
    for (const LoopAxis<N>& axis : outer_) positions_ *= axis.size;
  }

  int64_t size() const { return positions_ * rows_.size * inner_.size; }
  // From one element of a row to the next.
  int64_t step(int array) const { return inner_.stride[array]; }
  // Whether all arrays are one run of memory in the same order.
  bool flat() const { return positions_ * rows_.size == 1 && inner_.stride == unit(); }

  // Calls f(LoopBlock) for blocks that cover the loop.
  template <class F>
  void for_blocks(F&& f) const {
    if (size() == 0) return;
    const int64_t length = min64(inner_.size, kChunk), pieces = ceil_div(inner_.size, length);
    const int64_t height = min64(rows_.size, max64(1, kChunk / length));
    const int64_t units = ceil_div(rows_.size, height) * pieces, total = positions_ * units;
    const int64_t per_item = max64(1, kChunk / (length * height));
    parallel_for(ceil_div(total, per_item), [&](int64_t item, int) {
      for (int64_t u = item * per_item; u < min64(total, (item + 1) * per_item); ++u) {
        const int64_t i = u % pieces * length, row = u % units / pieces * height;
        LoopBlock<N> block{position(u / units), rows_.stride, min64(height, rows_.size - row),
                           min64(length, inner_.size - i)};
        for (int k = 0; k < N; ++k) block.offset[k] += row * rows_.stride[k] + i * inner_.stride[k];
        f(block);
      }
    });
  }

 private:
  static constexpr int64_t kChunk = 1 << 14;  // elements one thread takes at a time

  static constexpr std::array<int64_t, N> unit() {
    std::array<int64_t, N> one;
    one.fill(1);
    return one;
  }
  static bool follows(const LoopAxis<N>& outer, const LoopAxis<N>& inner) {
    for (int k = 0; k < N; ++k) {
      if (outer.stride[k] != inner.size * inner.stride[k]) return false;
    }
    return true;
  }
  LoopAxis<N> take(const LoopAxis<N>& otherwise) {
    if (outer_.empty()) return otherwise;
    const LoopAxis<N> axis = outer_.back();
    outer_.pop_back();
    return axis;
  }
  std::array<int64_t, N> position(int64_t index) const {
    std::array<int64_t, N> offset{};
    for (size_t d = outer_.size(); d-- > 0; index /= outer_[d].size) {
      for (int k = 0; k < N; ++k) offset[k] += index % outer_[d].size * outer_[d].stride[k];
    }
    return offset;
  }

  std::vector<LoopAxis<N>> outer_;
  LoopAxis<N> rows_, inner_;
  int64_t positions_ = 1;
};

}  // namespace neocog
