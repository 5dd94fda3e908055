// Convolution (cross-correlation, as every framework has it) with stride, dilation, groups and any zero
// padding.
//   y[n,o,i,j] = f(bias[o] + sum over c,r,s of x[n, c, h.tap(i,r), w.tap(j,s)] * weight[o,c,r,s] +
//   residual[n,o,i,j])
// x (N,C,H,W), weight (O, C/groups, R, S) dense, y (N,O,P,Q); x and y in either layout. One dimension is H =
// R = 1. Products accumulate in the type of the data over (r,s,c) in that order: |error| <= (R*S*C/groups +
// 2) * eps * sum |x*w|, but for Winograd's method (winograd.h), which float32 may take.
#pragma once

#include <type_traits>

#include "core/image.h"
#include "core/window.h"
#include "ops/batch_norm/moments.h"
#include "ops/conv/channel_sums.h"
#include "ops/conv/weights.h"
#include "ops/elementwise/elementwise.h"
#include "ops/pool/pool.h"

namespace neocog {

struct ConvGeometry {  // sizes only
  int64_t batch, in_channels, out_channels, groups;
  WindowAxis h, w;
};

// Maxima over windows of a result, taken while that is in registers or near.
template <class T>
struct MaxPooled {
  const PoolGeometry* windows;
  Image<T> y;  // channels last; may be a slice of channels
};

// What happens to a sum before it is stored.
template <class T>
struct Epilogue {
  const T* bias = nullptr;      // (O)
  const T* residual = nullptr;  // laid out as y
  Activation activation = Activation::kIdentity;
  T alpha = 0;
  Moments<T>* moments = nullptr;  // of y as it is stored, taken tile by tile
  // Only where conv_pools or separable_pools says so. y may have no data then: it is not wanted itself.
  const MaxPooled<T>* pooled = nullptr;
};

enum class ConvKernel {
  kChannelVectors,
  kParts,
  kPixelVectors,
  kCol2im,
  kNarrowGroups,
  kFewPixels,
  kDepthwise,
  kWinograd,
  kWinogradGroups,
  kSpaceToDepth
};
enum class ConvMethod { kAuto, kDirect };  // kDirect: the plain sum of products

// The kernel that conv_forward takes for x and y of this layout.
template <class T>
ConvKernel conv_kernel(const ConvGeometry&, Layout, ConvMethod = ConvMethod::kAuto);

// Whether the kernel for channels-last images takes the maxima of such windows of its results, besides bias
// and this activation.
template <class T>
bool conv_pools(const ConvGeometry&, Activation, const PoolGeometry&);

// x and y may be slices of channels; then there are neither residual nor moments.
template <class T>
void conv_forward(const ConvGeometry&, Image<const T> x, std::type_identity_t<Weights<T>> weight,
                  const Epilogue<T>&, Image<T> y, ConvMethod = ConvMethod::kAuto);

// Where gradients go; null where one is not wanted. x's is laid out as x, the weight's and the bias' are
// dense.
template <class T>
struct ConvGradients {
  T *x, *weight, *bias;
};

// Those that are wanted: the three below, in fewer passes over dy where that is faster. Without the weight's
// the data of x is not read.
template <class T>
void conv_backward(const ConvGeometry&, Image<const T> x, Image<const T> dy, const T* weight,
                   const ConvGradients<T>&);

// dx[n,c,h,w] = sum of dy * weight over every output that x[n,c,h,w] went into.
template <class T>
void conv_backward_x(const ConvGeometry&, Image<const T> dy, const T* weight, Image<T> dx);

// Sums that a kernel may take of an operand that it reads; null where they are not wanted.
template <class T>
struct OperandSums {
  ChannelSums<T>*x = nullptr, *dy = nullptr;
};

// dw[o,c,r,s] = sum over n,i,j of dy[n,o,i,j] * x[n, c, h.tap(i,r), w.tap(j,s)], the same bits for any number
// of threads.
template <class T>
void conv_backward_weight(const ConvGeometry&, Image<const T> x, Image<const T> dy, T* dw,
                          const OperandSums<T>& = {});

// db[o] = sum over n,i,j of dy[n,o,i,j].
template <class T>
void conv_backward_bias(Image<const T> dy, T* db);

}  // namespace neocog
