// Depthwise convolution of channels-first planes by the channels-last kernels: a block of channels, one
// vector of them, is turned to channels-last scratch that stays in the second-level cache, and its results
// are turned back. Turning costs a fraction of what short rows of a plane leave unused of a vector.
#pragma once

#include "ops/conv/tap_conv.h"

namespace neocog {

// Rows of one block that are turned together; cut so that x and y of them stay in the second-level cache.
struct BlockRows {
  int64_t channels;  // of a block
  int64_t rows;      // output positions of an item; 0: does not suit
};

// `span` rows of x lie under the taps of one output position. A multiplier needs the other schedules.
template <class T>
BlockRows depthwise_block_rows(const TapConvAxis& h, int64_t span, Image<const T> x, Image<const T> y);

template <class T>
void depthwise_blocks(const BlockRows&, const TapConvAxis& h, const TapConvAxis& w, Image<const T> x,
                      const T* weight, int64_t kernel_h, int64_t kernel_w, const Epilogue<T>&, Image<T> y);

}  // namespace neocog
