// The weight gradient: dw[o,0,r,s] = sum over n,i,j of dy[n,o,i,j] * x[n, o / M, h.tap(i,r), w.tap(j,s)].
#include <algorithm>
#include <cstring>
#include <vector>

#include "core/parallel.h"
#include "core/scratch.h"
#include "ops/conv/conv_axis.h"
#include "ops/conv/strip.h"
#include "ops/depthwise/depthwise.h"
#include "ops/depthwise/depthwise_blocks.h"
#include "ops/depthwise/plane_strip.h"
#include "ops/depthwise/row_job.h"

namespace neocog {
namespace {

// Channels-last work is cut into this many sums, whatever the number of threads: they are added in order.
constexpr int64_t kParts = 16;
constexpr int64_t kRowsPerPart = 4;

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

  void add(int64_t begin, int64_t end, const T* zeros, T* buffer, T* sum) const {
    std::vector<const T*> rows(g_.h.kernel + (kMostRows - 1) * g_.h.stride);
    for (int64_t at = begin; at < end;) {
      const int64_t n = at / dy_.h, i = at % dy_.h, most = std::min(end - at, dy_.h - i);
      auto several = kernels_.begin();
      while (several != kernels_.end() && several->count > most) ++several;
      if (several == kernels_.end()) {
        add_row(n, i, rows.data(), buffer, sum);
        ++at;
      } else {
        add_rows(*several, n, i, most, zeros, rows.data(), sum);
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
                T* sum) const {
    const int64_t step = g_.h.stride, used = g_.h.kernel + (several.count - 1) * step;
    const int64_t first = g_.h.tap(first_dy_ + i, 0) - first_x_;  // in x_
    for (int64_t r = 0; r < used; ++r) {
      rows[r] = g_.h.inside(first_x_ + first + r) ? x_.at(n, 0, first + r, 0) : zeros;
    }
    DepthwiseGradientRows<T> job{rows, {}, pw_.offset[0], 0, 0, x_.w, dy_.c, sum, {}, {}};
    for (int64_t o = 0; o < several.count; ++o) job.dy[o] = dy_.at(n, 0, i + o, 0);
    Ahead<T> ahead_x, ahead_dy;
    const int64_t next = std::min(several.count, most - several.count);
    if (next > 0) {
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

template <class T>
void channels_last(const ConvGeometry& g, const TapConvAxis& h, const TapConvAxis& w, Image<const T> x,
                   Image<const T> dy, T* dw) {
  const int64_t channels = dy.c, taps = g.h.kernel * g.w.kernel;
  const int64_t total = dy.n * dy.h, parts = std::clamp<int64_t>(total / kRowsPerPart, 1, kParts);
  const int threads = threads_for(parts);
  const RowGradients<T> gradients(g, h, w, x, dy);
  Scratch scratch(parts * Scratch::bytes_of<T>(taps * channels) +
                  threads * Scratch::bytes_of<T>(gradients.buffer_size()) +
                  Scratch::bytes_of<T>(gradients.zeros_size()));
  std::vector<T*> sums(parts), buffers(threads);
  for (T*& sum : sums) sum = scratch.take<T>(taps * channels);
  for (T*& buffer : buffers) buffer = scratch.take<T>(gradients.buffer_size());
  T* const zeros = scratch.take<T>(gradients.zeros_size());
  std::fill_n(zeros, gradients.zeros_size(), T(0));

  parallel_for(parts, threads, [&](int64_t part, int thread) {
    std::fill_n(sums[part], taps * channels, T(0));
    gradients.add(total * part / parts, total * (part + 1) / parts, zeros, buffers[thread], sums[part]);
  });
  for (int64_t part = 1; part < parts; ++part) {
    for (int64_t i = 0; i < taps * channels; ++i) sums[0][i] += sums[part][i];
  }
  for (int64_t c = 0; c < channels; ++c) {
    for (int64_t t = 0; t < taps; ++t) dw[c * taps + t] = sums[0][t * channels + c];
  }
}

template <class T>
void channels_first(const ConvGeometry& g, const TapConvAxis& w, Image<const T> x, Image<const T> dy, T* dw) {
  const DepthwiseKernels<T>& kernels = depthwise_kernels<T>();
  const int64_t multiplier = dy.c / x.c, taps = g.h.kernel * g.w.kernel;
  const TapPhaseAxis& pw = w.phases[0];
  const PlaneStrip strip(w, reach_of(pw), pw.count, kernels.lanes);
  std::vector<int64_t> columns(pw.offset.size());
  for (size_t s = 0; s < columns.size(); ++s) columns[s] = strip.column(pw.offset[s]);
  const int64_t block = std::clamp<int64_t>(8192 / pw.count, 8, 64);  // output rows that share a strip
  const int64_t strip_rows = (std::min(block, dy.h) - 1) * g.h.stride + (g.h.kernel - 1) * g.h.dilation + 1;
  const int threads = threads_for(dy.c);
  Scratch scratch(threads * (Scratch::bytes_of<T>(strip_rows * strip.pitch) +
                             Scratch::bytes_of<T>(taps * kernels.lanes)));
  std::vector<T*> strips(threads), sums(threads);
  for (int t = 0; t < threads; ++t) {
    strips[t] = scratch.take<T>(strip_rows * strip.pitch);
    sums[t] = scratch.take<T>(taps * kernels.lanes);
  }
  parallel_for(dy.c, threads, [&](int64_t o, int thread) {
    std::fill_n(sums[thread], taps * kernels.lanes, T(0));
    std::vector<const T*> rows(g.h.kernel);
    for (int64_t n = 0; n < dy.n; ++n) {
      for (int64_t i0 = 0; i0 < dy.h; i0 += block) {
        const int64_t i1 = std::min(i0 + block, dy.h), first = g.h.tap(i0, 0);
        for (int64_t row = first; row <= g.h.tap(i1 - 1, g.h.kernel - 1); ++row) {
          T* const to = strips[thread] + (row - first) * strip.pitch;
          if (g.h.inside(row)) {
            strip.load(x.at(n, o / multiplier, row, 0), x.w, to);
          } else {
            std::fill_n(to, strip.pitch, T(0));
          }
        }
        for (int64_t i = i0; i < i1; ++i) {
          for (int64_t r = 0; r < g.h.kernel; ++r)
            rows[r] = strips[thread] + (g.h.tap(i, r) - first) * strip.pitch;
          kernels.gradient_plane_row({rows.data(), g.h.kernel, g.w.kernel, columns.data(), 1, x.w, 1,
                                      dy.at(n, o, i, 0), dy.w, sums[thread]});
        }
      }
    }
    for (int64_t t = 0; t < taps; ++t) {
      T sum = 0;
      for (int64_t l = 0; l < kernels.lanes; ++l) sum += sums[thread][t * kernels.lanes + l];
      dw[o * taps + t] = sum;
    }
  });
}

// Channels-first: blocks of channels are turned to channels-last scratch, some rows at a time.
template <class T>
void channel_blocks(const BlockRows& cut, const ConvGeometry& g, const TapConvAxis& h, const TapConvAxis& w,
                    Image<const T> x, Image<const T> dy, T* dw) {
  const int64_t taps = g.h.kernel * g.w.kernel, blocks = ceil_div(dy.c, cut.channels);
  const int64_t parts = std::min(dy.n, ceil_div(kParts, blocks));  // sums of some of the images
  const int threads = threads_for(blocks * parts);
  const int64_t rows_dy = std::min(cut.rows, dy.h);
  const int64_t rows_x = std::min(x.h, (rows_dy - 1) * g.h.stride + (g.h.kernel - 1) * g.h.dilation + 1);
  const int64_t x_size = rows_x * x.w * cut.channels, dy_size = rows_dy * dy.w * cut.channels;
  const int64_t sum_size = taps * cut.channels;
  Scratch scratch(parts * blocks * Scratch::bytes_of<T>(sum_size) + Scratch::bytes_of<T>(x.w * cut.channels) +
                  threads * (Scratch::bytes_of<T>(x_size) + Scratch::bytes_of<T>(dy_size)));
  std::vector<T*> sums(parts * blocks), x_blocks(threads), dy_blocks(threads);
  for (T*& sum : sums) sum = scratch.take<T>(sum_size);
  T* const zeros = scratch.take<T>(x.w * cut.channels);
  std::fill_n(zeros, x.w * cut.channels, T(0));
  for (int t = 0; t < threads; ++t) {
    x_blocks[t] = scratch.take<T>(x_size);
    dy_blocks[t] = scratch.take<T>(dy_size);
  }
  parallel_for(blocks * parts, threads, [&](int64_t item, int thread) {
    const int64_t block = item % blocks, part = item / blocks;
    const int64_t channel = block * cut.channels, channels = std::min(cut.channels, dy.c - channel);
    T* const sum = sums[item];
    std::fill_n(sum, sum_size, T(0));
    for (int64_t n = dy.n * part / parts; n < dy.n * (part + 1) / parts; ++n) {
      for (int64_t i0 = 0; i0 < dy.h; i0 += rows_dy) {
        const int64_t i1 = std::min(i0 + rows_dy, dy.h);
        const int64_t first = std::clamp<int64_t>(g.h.tap(i0, 0), 0, x.h);
        const int64_t last = std::clamp<int64_t>(g.h.tap(i1 - 1, g.h.kernel - 1) + 1, first, x.h);
        load_strip(x, n, channel, channels, {first, last - first, 0, x.w}, x_blocks[thread]);
        load_strip(dy, n, channel, channels, {i0, i1 - i0, 0, dy.w}, dy_blocks[thread]);
        RowGradients<T>(g, h, w, {x_blocks[thread], 1, channels, last - first, x.w, Layout::kChannelsLast},
                        {dy_blocks[thread], 1, channels, i1 - i0, dy.w, Layout::kChannelsLast}, first, i0)
            .add(0, i1 - i0, zeros, nullptr, sum);
      }
    }
  });
  for (int64_t block = 0; block < blocks; ++block) {
    const int64_t channel = block * cut.channels, channels = std::min(cut.channels, dy.c - channel);
    for (int64_t part = 1; part < parts; ++part) {
      for (int64_t i = 0; i < taps * channels; ++i) sums[block][i] += sums[part * blocks + block][i];
    }
    for (int64_t c = 0; c < channels; ++c) {
      for (int64_t t = 0; t < taps; ++t) dw[(channel + c) * taps + t] = sums[block][t * channels + c];
    }
  }
}

}  // namespace

template <class T>
void depthwise_backward_weight(const ConvGeometry& g, Image<const T> x, Image<const T> dy, T* dw) {
  const TapConvAxis h = forward_axis(g.h), w = forward_axis(g.w);
  const BlockRows cut = depthwise_block_rows<T>(h, (g.h.kernel - 1) * g.h.dilation + 1, x, dy);
  if (dy.channels_last()) {
    channels_last(g, h, w, x, dy, dw);
  } else if (cut.rows > 0) {
    channel_blocks(cut, g, h, w, x, dy, dw);
  } else {
    channels_first(g, w, x, dy, dw);
  }
}

template void depthwise_backward_weight<float>(const ConvGeometry&, Image<const float>, Image<const float>,
                                               float*);
template void depthwise_backward_weight<double>(const ConvGeometry&, Image<const double>, Image<const double>,
                                                double*);

}  // namespace neocog
