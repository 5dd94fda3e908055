// Channels-last rows of depthwise outputs, one at a time or several together; shared with separable
// convolution.
#pragma once

#include <algorithm>
#include <vector>

#include "ops/depthwise/depthwise.h"
#include "ops/elementwise/elementwise.h"
#include "ops/gemm/gemm.h"

namespace neocog {

// Rows under the taps that wait in the second-level cache while every channel block slides along them; longer
// ones are cut.
inline constexpr int64_t kColumnBlockBytes = 512 << 10;
// More output rows at once need fewer loads, but with the rows under them and those fetched ahead they must
// stay there.
inline constexpr int64_t kRowBlockBytes = 512 << 10;

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
  bool stream = false;  // as in DepthwiseRows
};

// Whether a channels-last result goes past the caches.
template <class T>
bool streams_rows(const Image<T>& y) {
  return y.c * static_cast<int64_t>(sizeof(T)) % kLineBytes == 0 &&
         streams_past_caches(y.data, y.size() * static_cast<int64_t>(sizeof(T)));
}

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
  const int64_t lanes = depthwise_kernels<T>().lanes, size = kernel_h * kernel_w;
  std::vector<T> turned(size * lanes);  // zeros behind the last channel
  for (int64_t block = 0; block < channels; block += lanes) {
    const int64_t count = std::min(lanes, channels - block);
    if (count < lanes) std::fill(turned.begin(), turned.end(), T(0));
    gemm_kernels<T>().transpose(weight + block * size, size, turned.data(), lanes, count, size);
    for (const int64_t r : h.kernel) {
      for (const int64_t s : w.kernel)
        to = std::copy_n(turned.data() + (r * kernel_w + s) * lanes, lanes, to);
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
// y_of(u) is output 0 of output row u. Asks for `next` while it works, if there is that, instead of its own
// rows.
template <class T, class RowOf, class YOf>
void run_rows(const RowJob<T>& job, int64_t begin, int64_t end, int64_t col0, int64_t col1,
              const RowOf& row_of, const YOf& y_of, const Ahead<T>* next = nullptr) {
  const DepthwiseKernels<T>& kernels = depthwise_kernels<T>();
  const int64_t taps_h = static_cast<int64_t>(job.h.offset.size()),
                taps_w = static_cast<int64_t>(job.w.offset.size());
  const int64_t step = job.in_step_h;
  const bool regular = job.in_step_w == step && consecutive(job.h) && consecutive(job.w);
  const int64_t block = std::max<int64_t>(64, kColumnBlockBytes / static_cast<int64_t>(sizeof(T)) /
                                                  job.channels / std::max<int64_t>(1, taps_h + 1));
  const int64_t row_bytes = job.in_w * job.channels * static_cast<int64_t>(sizeof(T));
  int64_t most = kMostRows;
  while (most > 2 && (taps_h + (2 * most - 1) * step + 2 * most) * row_bytes > kRowBlockBytes) most /= 2;
  std::vector<const T*> rows(taps_h + (kMostRows - 1) * step);
  for (int64_t u = begin, count = 1; u < end; u += count) {
    auto kernel = kernels.row;
    count = 1;
    for (int64_t several = most; regular && several > 1; --several) {
      if (several == 3 && u + 4 == end) continue;  // two and two, not three and one
      const auto found = u + several <= end ? kernels.rows(taps_h, taps_w, step, several) : nullptr;
      if (found == nullptr) continue;
      kernel = found;
      count = several;
      break;
    }
    DepthwiseRows<T> g{rows.data(),
                       taps_h,
                       taps_w,
                       job.w.offset.data(),
                       job.in_step_w,
                       job.in_w,
                       job.channels,
                       job.weight,
                       job.bias,
                       {y_of(u)},
                       0,
                       0,
                       job.y_step,
                       job.clamp,
                       T(0),
                       job.clamp_hi,
                       job.stream,
                       {},
                       {}};
    if (count == 1) {
      for (int64_t t = 0; t < taps_h; ++t) rows[t] = row_of(u * step + job.h.offset[t]);
    } else {
      const int64_t first = u * step + job.h.offset[0], used = taps_h + (count - 1) * step;
      for (int64_t t = 0; t < used; ++t) {
        const T* const row = row_of(first + t);
        rows[t] = row == nullptr ? job.zeros : row;
      }
      for (int64_t i = 1; i < count; ++i) g.y[i] = y_of(u + i);
      // Rows that lie one behind the other in memory, and are wanted whole.
      const auto piece_of_x = [&](int64_t row, int64_t wanted) -> Ahead<T> {
        int64_t there = 0;
        while (there < wanted && row_of(row + there) != nullptr) ++there;
        return there > 0 ? Ahead<T>{row_of(row), there * job.in_w * job.channels} : Ahead<T>{};
      };
      if (next != nullptr) {
        g.ahead_x = next->part(u - begin, u + count - begin, end - begin);
      } else if (col0 == 0 && col1 == job.w.count) {
        const int64_t further = std::min(count, end - u - count), y_size = job.w.count * job.channels;
        const bool dense = job.y_step == job.channels && !job.stream;
        if (u == begin) {
          const int64_t above = std::max<int64_t>(0, -first);
          fetch(piece_of_x(first + above, used - above));
          if (dense) fetch<T>({y_of(u), count * y_size});
        }
        g.ahead_x = piece_of_x(first + used, further * step);
        if (dense) g.ahead_y = {further > 0 ? y_of(u + count) : nullptr, further * y_size};
      }
    }
    const Ahead<T> ahead_x = g.ahead_x, ahead_y = g.ahead_y;
    for (int64_t q = col0; q < col1; q += block) {
      g.begin = q;
      g.end = std::min(q + block, col1);
      g.ahead_x = ahead_x.part(q - col0, g.end - col0, col1 - col0);
      g.ahead_y = ahead_y.part(q - col0, g.end - col0, col1 - col0);
      kernel(g);
    }
  }
}

// The weights of all pairs of phases, packed, and output rows of all of them.
template <class T>
class PackedPhases {
 public:
  PackedPhases(const TapConvAxis& h, const TapConvAxis& w, int64_t channels)
      : h_(h), w_(w), channels_(channels) {
    for (const TapPhaseAxis& ph : h.phases) {
      for (const TapPhaseAxis& pw : w.phases) {
        offset_.push_back(size_);
        size_ += rows_weight_size<T>(ph, pw, channels);
      }
    }
  }
  int64_t size() const { return size_; }  // elements of what `pack` writes
  // weight (channels, kernel_h, kernel_w).
  void pack(const T* weight, int64_t kernel_h, int64_t kernel_w, T* to) {
    size_t phase = 0;
    for (const TapPhaseAxis& ph : h_.phases) {
      for (const TapPhaseAxis& pw : w_.phases) {
        pack_rows_weight(ph, pw, weight, channels_, kernel_h, kernel_w, to + offset_[phase++]);
      }
    }
    packed_ = to;
  }
  // All outputs of positions [u0, u1) of height, of `channels` channels from `channel` on, which are those of
  // a pixel. row_of(row) is that row of x, or null; y_row(row) that row of y; `next` as in run_rows.
  template <class RowOf, class YRow>
  void run(int64_t u0, int64_t u1, int64_t in_w, int64_t channel, int64_t channels, const T* bias,
           const T* zeros, bool clamp, T clamp_hi, const RowOf& row_of, const YRow& y_row,
           const Ahead<T>* next = nullptr, bool stream = false) const {
    const int64_t phases = static_cast<int64_t>(offset_.size());
    int64_t phase = 0;
    for (const TapPhaseAxis& ph : h_.phases) {
      for (const TapPhaseAxis& pw : w_.phases) {
        const int64_t taps = static_cast<int64_t>(ph.offset.size() * pw.offset.size());
        const RowJob<T> job{ph,
                            pw,
                            h_.in_step,
                            w_.in_step,
                            in_w,
                            channels,
                            packed_ + offset_[phase] + channel * taps,
                            bias,
                            zeros,
                            w_.out_step * channels,
                            clamp,
                            clamp_hi,
                            stream};
        const Ahead<T> share = next == nullptr ? Ahead<T>{} : next->part(phase, phase + 1, phases);
        run_rows(
            job, u0, std::min(u1, ph.count), 0, pw.count, row_of,
            [&](int64_t u) { return y_row(ph.start + u * h_.out_step) + pw.start * channels; },
            next == nullptr ? nullptr : &share);
        ++phase;
      }
    }
  }

 private:
  const TapConvAxis &h_, &w_;
  int64_t channels_, size_ = 0;
  std::vector<int64_t> offset_;
  const T* packed_ = nullptr;
};

}  // namespace neocog
