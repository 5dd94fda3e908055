// Maxima over windows of results that come in strips of rows, in any order, from any thread.
#pragma once

#include <algorithm>
#include <vector>

#include "core/parallel.h"
#include "ops/conv/conv.h"
#include "ops/pool/pool_kernels.h"

namespace neocog {

// Of a window: strips have at least as many, and must not outgrow the cache for that.
constexpr int64_t kMostPooledRows = 8;

// Whether windows lie in one strip or in two neighbours, one of them between two strips at most.
inline bool strips_pool(const PoolGeometry& windows) {
  const PoolAxis& h = windows.h;
  return h.out() > 0 && windows.w.out() > 0 && h.regular && h.dilation == 1 && h.kernel <= h.stride + 1 &&
         h.kernel <= kMostPooledRows &&
         std::ranges::all_of(h.span, [](const PoolSpan& span) { return span.count > 0; });
}

template <class T>
class StripPool {
 public:
  // Strips of `rows` rows, at least a window's, of every image of y, channels last; `pooled` may be null.
  StripPool(const MaxPooled<T>* pooled, const Image<T>& y, int64_t rows) : pooled_(pooled), y_(y) {
    if (pooled == nullptr) return;
    const std::vector<PoolSpan>& spans = pooled->windows->h.span;
    for (int64_t i = 0; i < std::ssize(spans); ++i) {
      if (spans[i].begin / rows != (spans[i].begin + spans[i].count - 1) / rows) parted_.push_back(i);
    }
  }
  explicit operator bool() const { return pooled_ != nullptr; }

  // Elements of memory, for `use`, in which both parts of windows of two strips wait for each other.
  int64_t scratch() const { return pooled_ == nullptr ? 0 : y_.n * std::ssize(parted_) * 2 * half_row(); }
  void use(T* memory) { halves_ = memory; }

  // What the rows [u0, u1) of image n, a strip that lies at `results`, add to their windows.
  void take(int64_t n, int64_t u0, int64_t u1, const T* results) const {
    const PoolGeometry& windows = *pooled_->windows;
    const std::vector<PoolSpan>& spans = windows.h.span;
    const auto before = [&](const PoolSpan& span) { return span.begin + span.count <= u0; };
    const int64_t first = std::ranges::partition_point(spans, before) - spans.begin();
    for (int64_t i = first; i < std::ssize(spans) && spans[i].begin < u1; ++i) {
      const int64_t begin = std::max(u0, spans[i].begin), end = std::min(u1, spans[i].begin + spans[i].count);
      const PoolSpan rows{begin - u0, end - begin};
      if (rows.count == spans[i].count) {
        largest(results, y_.w * y_.c, rows, windows.w.span.data(), windows.w.dilation,
                pooled_->y.at(n, 0, i, 0), pooled_->y.stride_w());
      } else {
        const int64_t place = std::ranges::lower_bound(parted_, i) - parted_.begin();
        largest(results, y_.w * y_.c, rows, windows.w.span.data(), windows.w.dilation,
                half(n, place, begin > spans[i].begin), y_.c);
      }
    }
  }

  // After all strips.
  void join() const {
    std::vector<PoolSpan> pixels(static_cast<size_t>(pooled_->y.w));
    for (int64_t j = 0; j < pooled_->y.w; ++j) pixels[j] = {j, 1};
    const int64_t parted = std::ssize(parted_);
    parallel_for(y_.n * parted, [&](int64_t item, int) {
      const int64_t n = item / parted, place = item % parted;
      largest(half(n, place, false), half_row(), {0, 2}, pixels.data(), 1,
              pooled_->y.at(n, 0, parted_[place], 0), pooled_->y.stride_w());
    });
  }

 private:
  int64_t half_row() const { return pooled_->y.w * y_.c; }
  T* half(int64_t n, int64_t place, bool lower) const {
    return halves_ + ((n * std::ssize(parted_) + place) * 2 + (lower ? 1 : 0)) * half_row();
  }
  void largest(const T* x, int64_t x_row, PoolSpan rows, const PoolSpan* columns, int64_t column_step, T* y,
               int64_t y_column) const {
    PoolPixels<T> pixels{};
    pixels.x = x;
    pixels.x_row = x_row;
    pixels.x_column = y_.c;
    pixels.rows = rows;
    pixels.row_step = 1;
    pixels.columns = columns;
    pixels.column_step = column_step;
    pixels.end = pooled_->y.w;
    pixels.channels = y_.c;
    pixels.y = y;
    pixels.y_column = y_column;
    pool_kernels<T>().max_pixels(pixels);
  }

  const MaxPooled<T>* pooled_;
  Image<T> y_;
  std::vector<int64_t> parted_;  // windows that lie in two strips
  T* halves_ = nullptr;          // (n, parted, upper and lower, pooled columns, channels)
};

}  // namespace neocog
