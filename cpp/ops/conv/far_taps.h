// Convolution whose taps lie so far apart that many of them miss the image: large dilations, as in atrous
// spatial pyramids. Outputs are cut into rectangles that the same taps reach; nothing is multiplied by
// padding, and x is read where it lies. Source: Chen et al., "Rethinking atrous convolution",
// arXiv:1706.05587 (the case).
#pragma once

#include "ops/conv/tap_conv.h"

namespace neocog {

// Whether many of the products would be with padding; one phase per axis.
bool far_taps_suit(const TapConvAxis& h, const TapConvAxis& w, int64_t in_h, int64_t in_w);

// x and y are channels-last.
template <class T>
void far_taps_conv(const TapConvAxis& h, const TapConvAxis& w, int64_t groups, Image<const T> x,
                   std::type_identity_t<Weights<T>> weight, int64_t kernel_h, int64_t kernel_w, WeightRole,
                   const Epilogue<T>&, Image<T> y);

template <class T>
void far_taps_backward_weight(const ConvGeometry&, Image<const T> x, Image<const T> dy, T* dw);

}  // namespace neocog
