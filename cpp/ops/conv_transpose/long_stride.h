// Transposed convolution of a long stride: the phases side by side are channels of one image.
#pragma once

#include "ops/conv_transpose/conv_transpose.h"

namespace neocog {

// The phases of a pixel of x fill vectors, whatever the channels of y, so all with as many taps together are
// one convolution of stride 1: the products of phase by phase in the same order.
bool long_stride_suits(const ConvGeometry&);
// No residual.
template <class T>
void long_stride_transposed(const ConvGeometry&, Image<const T> x, const T* weight, const Epilogue<T>&,
                            Image<T> y);

}  // namespace neocog
