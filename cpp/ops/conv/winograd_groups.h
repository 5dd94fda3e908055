// 3x3 convolution of stride 1 in groups of few channels, channels first, by Winograd's F(4x4, 3x3) with a
// tile in every lane: a quarter of the products of narrow_groups.h. The error bound is that of winograd.h
// with full tiles, also at the edges.
#pragma once

#include "ops/conv/tap_conv.h"

namespace neocog {

// Whether it can be done, is allowed (strict.h), and saves more than the transforms cost; for float alone.
template <class T>
bool winograd_groups_suit(const ConvGeometry&, WeightRole, Layout);

// x and y are channels-first.
template <class T>
void winograd_groups_conv(const ConvGeometry&, Image<const T> x, std::type_identity_t<Weights<T>> weight,
                          WeightRole, const Epilogue<T>&, Image<T> y);

// The weight gradient, in either layout: bound and order of the sums are those of winograd_backward_weight.
template <class T>
bool winograd_groups_suit_weight(const ConvGeometry&);
template <class T>
void winograd_groups_backward_weight(const ConvGeometry&, Image<const T> x, Image<const T> dy, T* dw,
                                     const OperandSums<T>&);

}  // namespace neocog
