// Channels-last rows of the weight gradient of a depthwise convolution.
#pragma once

#include <algorithm>
#include <vector>

#include "ops/depthwise/depthwise.h"
#include "ops/depthwise/row_job.h"

namespace neocog {

// Adds the part of rows [begin, end) of dy, counted over all images, to `sum` (taps, channels). x and dy may
// be the rows of one image from first_x and first_dy on; all rows under the taps must be there.
template <class T>
class RowGradients {
 public:
  RowGradients(const ConvGeometry& g, const TapConvAxis& h, const TapConvAxis& w, Image<const T> x,
               Image<const T> dy, int64_t first_x = 0, int64_t first_dy = 0)
      : g_(g),
        ph_(h.phases[0]),
        pw_(w.phases[0]),
        step_w_(w.in_step),
        first_x_(first_x),
        first_dy_(first_dy),
        x_(x),
        dy_(dy) {
    const int64_t taps = g.h.kernel, row_bytes = x.w * dy.c * static_cast<int64_t>(sizeof(T));
    multiplier_ = dy.c / x.c;
    const bool regular = multiplier_ == 1 && taps == g.w.kernel && h.in_step == w.in_step &&
                         consecutive(ph_) && consecutive(pw_);
    if (!regular) return;
    for (int64_t count = kMostRows; count > 0; count /= 2) {
      const bool fits =
          count <= 2 || (taps + (2 * count - 1) * h.in_step + 2 * count) * row_bytes <= kRowBlockBytes;
      const auto kernel = depthwise_kernels<T>().gradient_rows(taps, h.in_step, count);
      if (fits && kernel != nullptr) kernels_.push_back({count, kernel});
    }
    block_ = std::max<int64_t>(
        64, kColumnBlockBytes / static_cast<int64_t>(sizeof(T)) / dy.c / std::max<int64_t>(1, taps + 1));
  }

  // Elements of a buffer for the calls of one thread, and of a row of zeros for all.
  int64_t buffer_size() const { return multiplier_ > 1 ? g_.h.kernel * x_.w * dy_.c : 0; }
  int64_t zeros_size() const { return kernels_.empty() ? 0 : x_.w * dy_.c; }

  // What to ask for instead of the rows of x and dy that come next.
  struct Next {
    Ahead<T> x, dy;
  };
  void add(int64_t begin, int64_t end, const T* zeros, T* buffer, T* sum, const Next* next = nullptr) const {
    std::vector<const T*> rows(g_.h.kernel + (kMostRows - 1) * g_.h.stride);
    for (int64_t at = begin; at < end;) {
      const int64_t n = at / dy_.h, i = at % dy_.h, most = std::min(end - at, dy_.h - i);
      auto several = kernels_.begin();
      while (several != kernels_.end() && several->count > most) ++several;
      if (several == kernels_.end()) {
        add_row(n, i, rows.data(), buffer, sum);
        ++at;
      } else {
        Next share;
        if (next != nullptr) {
          const int64_t from = at - begin, to = from + several->count;
          share = {next->x.part(from, to, end - begin), next->dy.part(from, to, end - begin)};
        }
        add_rows(*several, n, i, most, zeros, rows.data(), sum, next == nullptr ? nullptr : &share);
        at += several->count;
      }
    }
  }

 private:
  struct Several {
    int64_t count;
    void (*kernel)(const DepthwiseGradientRows<T>&);
  };

  void add_row(int64_t n, int64_t i, const T** rows, T* buffer, T* sum) const {
    for (int64_t r = 0; r < g_.h.kernel; ++r) {
      const int64_t row = g_.h.tap(first_dy_ + i, r);
      if (!g_.h.inside(row)) {
        rows[r] = nullptr;
      } else if (multiplier_ == 1) {
        rows[r] = x_.at(n, 0, row - first_x_, 0);
      } else {
        T* const to = buffer + r * x_.w * dy_.c;
        expand_row(x_.at(n, 0, row - first_x_, 0), x_.w * x_.c, multiplier_, to);
        rows[r] = to;
      }
    }
    depthwise_kernels<T>().gradient_row({rows, g_.h.kernel, g_.w.kernel, pw_.offset.data(), step_w_, x_.w,
                                         dy_.c, dy_.at(n, 0, i, 0), dy_.w, sum});
  }

  // `most` rows of this image are wanted from row i on.
  void add_rows(const Several& several, int64_t n, int64_t i, int64_t most, const T* zeros, const T** rows,
                T* sum, const Next* wanted) const {
    const int64_t step = g_.h.stride, used = g_.h.kernel + (several.count - 1) * step;
    const int64_t first = g_.h.tap(first_dy_ + i, 0) - first_x_;  // in x_
    for (int64_t r = 0; r < used; ++r) {
      rows[r] = g_.h.inside(first_x_ + first + r) ? x_.at(n, 0, first + r, 0) : zeros;
    }
    DepthwiseGradientRows<T> job{rows, {}, pw_.offset[0], 0, 0, x_.w, dy_.c, sum, {}, {}};
    for (int64_t o = 0; o < several.count; ++o) job.dy[o] = dy_.at(n, 0, i + o, 0);
    Ahead<T> ahead_x, ahead_dy;
    const int64_t next = std::min(several.count, most - several.count);
    if (wanted != nullptr) {
      ahead_x = wanted->x;
      ahead_dy = wanted->dy;
    } else if (next > 0) {
      const int64_t from = std::min(first + used, x_.h), to = std::min(from + next * step, x_.h);
      if (from >= 0 && to > from) ahead_x = {x_.at(n, 0, from, 0), (to - from) * x_.w * dy_.c};
      ahead_dy = {dy_.at(n, 0, i + several.count, 0), next * dy_.w * dy_.c};
    }
    for (int64_t q = 0; q < dy_.w; q += block_) {
      job.begin = q;
      job.end = std::min(q + block_, dy_.w);
      job.ahead_x = ahead_x.part(q, job.end, dy_.w);
      job.ahead_dy = ahead_dy.part(q, job.end, dy_.w);
      several.kernel(job);
    }
  }

  const ConvGeometry& g_;
  const TapPhaseAxis &ph_, &pw_;
  int64_t step_w_, first_x_, first_dy_, multiplier_, block_ = 1;
  Image<const T> x_, dy_;
  std::vector<Several> kernels_;  // those that take more rows first
};

}  // namespace neocog
