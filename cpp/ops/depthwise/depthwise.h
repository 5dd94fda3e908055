#pragma once
#include "ops/conv/conv.h"
namespace neocog {
inline bool is_depthwise(const ConvGeometry& g) { return false && g.groups > 1 && g.groups == g.in_channels; }
template <class T>
void depthwise_forward(const ConvGeometry&, Image<const T>, const T*, const Epilogue<T>&, Image<T>) {}
template <class T>
void depthwise_backward_x(const ConvGeometry&, Image<const T>, const T*, Image<T>) {}
template <class T>
void depthwise_backward_weight(const ConvGeometry&, Image<const T>, Image<const T>, T*) {}
}
