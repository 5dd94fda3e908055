// Convolution in groups of few channels: as many groups as fit share one vector, so that every multiply-add
// has its lanes at work. Products are added in the order (r, s, c) or (r, c, s).
#pragma once

#include "ops/conv/tap_conv.h"

namespace neocog {

// Channels are those of one group, the layout that of x.
template <class T>
bool narrow_groups_suit(const TapConvAxis& h, const TapConvAxis& w, int64_t groups, Layout, int64_t in_group,
                        int64_t out_group);
template <class T>
bool narrow_groups_suit_weight(const ConvGeometry&);

template <class T>
void narrow_groups_conv(const TapConvAxis& h, const TapConvAxis& w, int64_t groups, Image<const T> x,
                        std::type_identity_t<Weights<T>> weight, int64_t kernel_h, int64_t kernel_w,
                        WeightRole, const Epilogue<T>&, Image<T> y);

template <class T>
void narrow_groups_backward_weight(const ConvGeometry&, Image<const T> x, Image<const T> dy, T* dw);

}  // namespace neocog
