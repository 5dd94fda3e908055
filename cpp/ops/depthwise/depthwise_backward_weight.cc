// The weight gradient: dw[o,0,r,s] = sum over n,i,j of dy[n,o,i,j] * x[n, o / M, h.tap(i,r), w.tap(j,s)].
#include <algorithm>
#include <cstring>
#include <vector>

#include "core/parallel.h"
#include "core/scratch.h"
#include "ops/conv/conv_axis.h"
#include "ops/depthwise/depthwise.h"
#include "ops/depthwise/plane_strip.h"

namespace neocog {
namespace {

// Channels-last work is cut into this many sums, whatever the number of threads: they are added in order.
constexpr int64_t kParts = 16;
constexpr int64_t kRowsPerPart = 4;

template <class T>
void channels_last(const ConvGeometry& g, const TapConvAxis& h, const TapConvAxis& w, Image<const T> x,
                   Image<const T> dy, T* dw) {
  const int64_t channels = dy.c, multiplier = dy.c / x.c, taps = g.h.kernel * g.w.kernel;
  const TapPhaseAxis &ph = h.phases[0], &pw = w.phases[0];
  const int64_t total = dy.n * dy.h, parts = std::clamp<int64_t>(total / kRowsPerPart, 1, kParts);
  const int threads = threads_for(parts);
  const int64_t expanded = multiplier > 1 ? g.h.kernel * x.w * channels : 0;
  Scratch scratch(parts * Scratch::bytes_of<T>(taps * channels) + threads * Scratch::bytes_of<T>(expanded));
  std::vector<T*> sums(parts), buffers(threads);
  for (T*& sum : sums) sum = scratch.take<T>(taps * channels);
  for (T*& buffer : buffers) buffer = scratch.take<T>(expanded);

  parallel_for(parts, threads, [&](int64_t part, int thread) {
    std::fill_n(sums[part], taps * channels, T(0));
    std::vector<const T*> rows(g.h.kernel);
    for (int64_t at = total * part / parts; at < total * (part + 1) / parts; ++at) {
      const int64_t n = at / dy.h, i = at % dy.h;
      for (int64_t r = 0; r < g.h.kernel; ++r) {
        const int64_t row = g.h.tap(i, r);
        if (!g.h.inside(row)) {
          rows[r] = nullptr;
        } else if (multiplier == 1) {
          rows[r] = x.at(n, 0, row, 0);
        } else {
          T* const to = buffers[thread] + r * x.w * channels;
          expand_row(x.at(n, 0, row, 0), x.w * x.c, multiplier, to);
          rows[r] = to;
        }
      }
      depthwise_kernels<T>().gradient_row({rows.data(), static_cast<int64_t>(ph.offset.size()),
                                           static_cast<int64_t>(pw.offset.size()), pw.offset.data(),
                                           w.in_step, x.w, channels, dy.at(n, 0, i, 0), dy.w, sums[part]});
    }
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

}  // namespace

template <class T>
void depthwise_backward_weight(const ConvGeometry& g, Image<const T> x, Image<const T> dy, T* dw) {
  const TapConvAxis h = forward_axis(g.h), w = forward_axis(g.w);
  if (dy.channels_last()) {
    channels_last(g, h, w, x, dy, dw);
  } else {
    channels_first(g, w, x, dy, dw);
  }
}

template void depthwise_backward_weight<float>(const ConvGeometry&, Image<const float>, Image<const float>,
                                               float*);
template void depthwise_backward_weight<double>(const ConvGeometry&, Image<const double>, Image<const double>,
                                                double*);

}  // namespace neocog
