// What the two schedules of the weight gradient by Winograd's method share; private to them.
#pragma once

#include <algorithm>

#include "ops/conv/conv.h"
#include "ops/conv/winograd_plan.h"

namespace neocog {

// The weights dw (o, c, r, s) of channels [begin, end) of x and one panel of dy's, `columns` of which exist,
// from the sums (point, channels, width) of the channels from c0 on. `to` is dw at (first column, c0);
// `space` holds all weights of every channel and column.
template <class T>
void finish_weights(const TileAxis& h, const TileAxis& w, const T* sums, int64_t channels, int64_t width,
                    int64_t columns, int64_t begin, int64_t end, int64_t in_group, T* space, T* to) {
  const int64_t taps = h.taps * w.taps;
  for (int64_t c = begin; c < end; ++c) {  // (c, r, s; o)
    winograd_kernels<T>().weight(h.taps, w.taps, sums + c * width, channels * width, width,
                                 space + (c - begin) * taps * width);
  }
  gemm_kernels<T>().transpose(space, width, to + begin * taps, in_group * taps, (end - begin) * taps,
                              std::min(width, columns));
}

// Whether the sums of all points and channels of a group stay in the second-level cache. Then every part of
// the tiles is transformed and added up a strip at a time, and the transformed images never leave that cache.
template <class T>
bool winograd_parts_suit(const ConvGeometry&);
template <class T>
void winograd_weight_by_parts(const ConvGeometry&, Image<const T> x, Image<const T> dy, T* dw,
                              const OperandSums<T>&);

}  // namespace neocog
