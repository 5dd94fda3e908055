// Depthwise-separable convolution: a depthwise convolution and a 1x1 convolution over its channels, as one
// pass.
//   y[n,o,i,j] = f(bias[o] + sum over k of pointwise[o,k] * sum over r,s of x[n, k / M, h.tap(i,r),
//   w.tap(j,s)] * depthwise[k,r,s])
// The depthwise results of a strip of rows stay in the second-level cache, where the product reads them,
// unless the pointwise weights would not stay there beside them (separable_method). Accuracy: the bounds of
// depthwise.h and conv.h, one after the other. Source: Chollet, "Xception", arXiv:1610.02357, section 1.
#pragma once

#include "ops/batch_norm/batch_norm.h"
#include "ops/conv/conv.h"

namespace neocog {

enum class SeparableMethod { kOnePass, kTwoPasses };

// With channels last, large pointwise weights are worth a pass over all depthwise results: a strip would not
// pay for reading them.
template <class T>
SeparableMethod separable_method(const ConvGeometry& g, Image<const T> x, Image<T> y);

// What x goes through on its way to the depthwise kernels, per channel: f((x - center) * scale + shift).
// Padding stays zero. In one pass it is applied to the rows of a strip, which then stay in the second-level
// cache.
template <class T>
struct Prologue {
  const T *center, *scale, *shift;
  Activation activation = Activation::kIdentity;
  T alpha = 0;
};

// Whether the maxima of such windows are taken of every strip of results while it is in the second-level
// cache: in one pass, and with windows that reach from a strip into the next one at most.
template <class T>
bool separable_pools(const ConvGeometry& g, Image<const T> x, Image<T> y, const PoolGeometry& windows);

// `g` is the depthwise part: in_channels = groups = C, out_channels = C * M. y has any number of channels.
template <class T>
void separable_forward(const ConvGeometry& g, Image<const T> x,
                       std::type_identity_t<Weights<T>> depthwise_weight,
                       std::type_identity_t<Weights<T>> pointwise_weight, const Epilogue<T>&, Image<T> y,
                       const Prologue<T>* = nullptr);

}  // namespace neocog
