// Transposed convolution to few channels, and the input gradient of a stem: each pixel of x gives the
// products with all taps (a row of the matrix of columns), which are then added up where taps of neighbours
// meet (col2im). The columns of a few pixels at a time stay in the cache.
#pragma once

#include "ops/conv/tap_conv.h"

namespace neocog {

// Where it is faster than plane_conv, as measured with AVX-512: x of this layout, `pixels` of it in all,
// column step 1, dilation 1.
template <class T>
bool col2im_suits(const TapConvAxis& h, const TapConvAxis& w, Layout, int64_t pixels, int64_t in_group,
                  int64_t out_group);

template <class T>
void col2im_conv(const TapConvAxis& h, const TapConvAxis& w, int64_t groups, Image<const T> x,
                 std::type_identity_t<Weights<T>> weight, int64_t kernel_h, int64_t kernel_w, WeightRole,
                 const Epilogue<T>&, Image<T> y);

}  // namespace neocog
