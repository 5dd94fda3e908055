// What the two schedules of the weight gradient by Winograd's method share; private to them.
#pragma once

#include <algorithm>

#include "ops/conv/conv.h"
#include "ops/conv/conv_axis.h"
#include "ops/conv/winograd_plan.h"

namespace neocog {

// With a stride, phases of x are more channels: channel c of phase p is winograd_place(p) * in_group + c.
inline int64_t weight_phases(const ConvGeometry& g) {
  return winograd_phases(g.h) * winograd_phases(g.w);
}
// The window of x under the tiles of dy.
inline WinogradWindow weight_window(const ConvGeometry& g, bool beside) {
  return {g.h.pad_lo, g.w.pad_lo,           winograd_step(g.h),  winograd_step(g.w),
          beside,     winograd_phases(g.h), winograd_phases(g.w)};
}

// The channels of x's phases whose sums of a point are wanted.
struct ChannelSpan {
  int64_t begin, end;
};
inline ChannelSpan weight_span(const ConvGeometry& g, const TileAxis& h, const TileAxis& w, int64_t point) {
  const int64_t in = g.in_channels / g.groups;
  const PlaceSpan span =
      winograd_places(g, point / w.points == h.points - 1, point % w.points == w.points - 1);
  return {span.begin * in, span.end * in};
}

// Whether every pixel of x lies under a tile.
inline bool tiles_cover_all(const ConvGeometry& g) {
  return reaches_the_end(g.h) && reaches_the_end(g.w);
}

// The sums (point, channels, width) of channels [begin, end) of x's phases and one panel of dy's, transformed
// back: to (c, r, s; o) of the taps of a phase. Sums of points that a phase lacks (weight_span) are never
// set: they reach only taps that do not exist, and are dropped with them.
template <class T>
void taps_of_sums(const TileAxis& h, const TileAxis& w, const T* sums, int64_t channels, int64_t width,
                  int64_t begin, int64_t end, T* to) {
  const int64_t size = h.taps * w.taps * width;
  for (int64_t c = begin; c < end; ++c, to += size) {
    winograd_kernels<T>().weight(h.taps, w.taps, sums + c * width, channels * width, width, to);
  }
}

// The weights dw (o, c, r, s) of channels [begin, end) of x's phases and one panel of dy's, `columns` of
// which exist, from their taps (c, r, s; o), `width` columns. `to` is dw at the first column; `space` holds
// the taps once more where there are phases.
template <class T>
void store_weights(const ConvGeometry& g, const TileAxis& h, const TileAxis& w, const T* taps_of,
                   int64_t width, int64_t columns, int64_t begin, int64_t end, T* space, T* to) {
  const int64_t taps = h.taps * w.taps, in_group = g.in_channels / g.groups;
  const int64_t rows = (end - begin) * taps, exist = std::min(width, columns);
  if (weight_phases(g) == 1) {
    gemm_kernels<T>().transpose(taps_of, width, to + begin * taps, in_group * taps, rows, exist);
    return;
  }
  gemm_kernels<T>().transpose(taps_of, width, space, rows, rows, exist);  // (o; c, r, s)
  const int64_t phases_h = winograd_phases(g.h), phases_w = winograd_phases(g.w);
  for (int64_t o = 0; o < exist; ++o) {
    const T* from = space + o * rows;
    for (int64_t c = begin; c < end; ++c) {
      const int64_t phase = winograd_place(g, c / in_group);
      T* const kernel = to + (o * in_group + c % in_group) * g.h.kernel * g.w.kernel;
      for (int64_t r = 0; r < h.taps; ++r) {
        for (int64_t s = 0; s < w.taps; ++s) {
          const int64_t row = r * phases_h + phase / phases_w, col = s * phases_w + phase % phases_w;
          if (row < g.h.kernel && col < g.w.kernel) kernel[row * g.w.kernel + col] = *from;
          ++from;
        }
      }
    }
  }
}

// Whether the sums of all points and channels of a group stay in the second-level cache. Then every part of
// the tiles is transformed and added up a strip at a time, and the transformed images never leave that cache.
template <class T>
bool winograd_parts_suit(const ConvGeometry&);
template <class T>
void winograd_weight_by_parts(const ConvGeometry&, Image<const T> x, Image<const T> dy, T* dw,
                              const OperandSums<T>&);

}  // namespace neocog
