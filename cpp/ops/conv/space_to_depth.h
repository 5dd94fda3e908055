// Convolution of a long stride as one of stride 1, in both roles: the pixels that a stride steps over are the
// channels of one (space to depth), kernels get zeros behind them, up to a multiple of the stride, and what
// is left has so few taps that Winograd's method takes it (winograd.h, whose bounds hold). 11x11 of stride 4
// is 3x3 on 16 times the channels: 36 products of an input and an output channel where the plain sum has 121.
#pragma once

#include "ops/conv/tap_conv.h"
#include "ops/conv/winograd_cost.h"

namespace neocog {

// Whether it can be done, what it takes, and whether it is allowed (strict.h) and pays.
bool space_to_depth_possible(const ConvGeometry&);
ConvCounts space_to_depth_counts(const ConvGeometry&, ConvUse);
template <class T>
bool space_to_depth_suits(const ConvGeometry&, WeightRole);
template <class T>
bool space_to_depth_suits_weight(const ConvGeometry&);

// Whether Winograd's method is chosen for float, in blocks or without.
bool takes_winograd(const ConvGeometry&, ConvUse);

// conv_forward or conv_transpose_forward. Forward, what comes after the sums is done as winograd_conv does
// it; transposed, the moments are left.
template <class T>
void space_to_depth_conv(const ConvGeometry&, Image<const T> x, std::type_identity_t<Weights<T>> weight,
                         WeightRole, const Epilogue<T>&, Image<T> y);

// conv_backward_weight.
template <class T>
void space_to_depth_backward_weight(const ConvGeometry&, Image<const T> x, Image<const T> dy, T* dw,
                                    const OperandSums<T>&);

}  // namespace neocog
