// Convolution to a handful of pixels, as the last layers of a network make for one small image.
#pragma once

#include "ops/conv/conv.h"

namespace neocog {

// Each weight meets so few pixels that packing it would cost more than its products: rows of columns (the
// pixels under every window) against rows of weights, both where they lie.
bool few_pixels_suit(const ConvGeometry&);
template <class T>
void few_pixels_conv(const ConvGeometry&, Image<const T> x, const T* weight, const Epilogue<T>&, Image<T> y);

}  // namespace neocog
