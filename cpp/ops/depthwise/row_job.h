// Channels-last rows of depthwise outputs, one at a time or in pairs; shared with separable convolution.
#pragma once

#include <algorithm>
#include <vector>

#include "ops/depthwise/depthwise.h"

namespace neocog {

// Columns that go through all rows and channels before the next ones: the rows under the taps stay in the
// cache.
inline constexpr int64_t kColumnBlockBytes = 48 << 10;

template <class T>
struct RowJob {
  const TapPhaseAxis &h, &w;
  int64_t in_step_h, in_step_w, in_w, channels;
  const T* weight;  // by pack_rows_weight
  const T* bias;
  const T* zeros;  // a row (in_w, channels) of padding
  int64_t y_step;
  bool clamp;
  T clamp_hi;
};

// Elements of the weights of a pair of phases as DepthwiseRows reads them.
template <class T>
int64_t rows_weight_size(const TapPhaseAxis& h, const TapPhaseAxis& w, int64_t channels) {
  return round_up(channels, depthwise_kernels<T>().lanes) *
         static_cast<int64_t>(h.offset.size() * w.offset.size());
}

// weight (channels, kernel_h, kernel_w) of a pair of phases to (channel blocks, taps_h, taps_w, lanes).
template <class T>
void pack_rows_weight(const TapPhaseAxis& h, const TapPhaseAxis& w, const T* weight, int64_t channels,
                      int64_t kernel_h, int64_t kernel_w, T* to) {
  const int64_t lanes = depthwise_kernels<T>().lanes;
  for (int64_t block = 0; block < channels; block += lanes) {
    for (const int64_t r : h.kernel) {
      for (const int64_t s : w.kernel) {
        const T* from = weight + block * kernel_h * kernel_w + r * kernel_w + s;
        for (int64_t l = 0; l < lanes; ++l)
          *to++ = block + l < channels ? from[l * kernel_h * kernel_w] : T(0);
      }
    }
  }
}

inline bool consecutive(const TapPhaseAxis& phase) {
  for (size_t i = 1; i < phase.offset.size(); ++i) {
    if (phase.offset[i] != phase.offset[i - 1] + 1) return false;
  }
  return !phase.offset.empty();
}

// Writes outputs [col0, col1) of rows [begin, end). row_of(row) is that row of x, or null outside the image;
// y_of(u) is output 0 of output row u.
template <class T, class RowOf, class YOf>
void run_rows(const RowJob<T>& job, int64_t begin, int64_t end, int64_t col0, int64_t col1,
              const RowOf& row_of, const YOf& y_of) {
  const DepthwiseKernels<T>& kernels = depthwise_kernels<T>();
  const int64_t taps_h = static_cast<int64_t>(job.h.offset.size()),
                taps_w = static_cast<int64_t>(job.w.offset.size());
  const int64_t step = job.in_step_h;
  const auto pair_kernel = job.in_step_w == step && consecutive(job.h) && consecutive(job.w)
                               ? kernels.row_pair(taps_h, taps_w, step)
                               : nullptr;
  const int64_t block = std::max<int64_t>(16, kColumnBlockBytes / static_cast<int64_t>(sizeof(T)) /
                                                  job.channels / std::max<int64_t>(1, taps_h + 1));
  std::vector<const T*> rows(taps_h + step);
  for (int64_t u = begin; u < end;) {
    const bool pair = pair_kernel != nullptr && u + 1 < end;
    for (int64_t t = 0; t < taps_h; ++t) rows[t] = row_of(u * step + job.h.offset[t]);
    DepthwiseRows<T> g{rows.data(),
                       taps_h,
                       taps_w,
                       job.w.offset.data(),
                       job.in_step_w,
                       job.in_w,
                       job.channels,
                       job.weight,
                       job.bias,
                       {y_of(u), nullptr},
                       0,
                       0,
                       job.y_step,
                       job.clamp,
                       T(0),
                       job.clamp_hi};
    if (pair) {
      for (int64_t t = 0; t < step; ++t) rows[taps_h + t] = row_of(u * step + job.h.offset[0] + taps_h + t);
      for (const T*& row : rows) row = row == nullptr ? job.zeros : row;
      g.y[1] = y_of(u + 1);
    }
    for (int64_t q = col0; q < col1; q += block) {
      g.begin = q;
      g.end = std::min(q + block, col1);
      pair ? pair_kernel(g) : kernels.row(g);
    }
    u += pair ? 2 : 1;
  }
}

}  // namespace neocog
