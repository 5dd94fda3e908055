// Depthwise convolution: every channel has its own kernels and sees no other channel.
//   y[n,o,i,j] = f(bias[o] + sum over r,s of x[n, o / M, h.tap(i,r), w.tap(j,s)] * weight[o,0,r,s]),  M = O /
//   C
// The case groups = C of conv.h and conv_transpose.h, which send it here: a matrix product would have one
// column. Products accumulate in the type of the data in (r,s) or (s,r) order: |error| <= (R*S + 2) * eps *
// sum |x*w|. Source: Howard et al., "MobileNets", arXiv:1704.04861, section 3.1.
#pragma once

#include "core/fetch.h"
#include "ops/conv/tap_conv.h"

namespace neocog {

inline bool is_depthwise(const ConvGeometry& g) {
  return g.groups > 1 && g.groups == g.in_channels;
}

// Output rows that one kernel works on together.
inline constexpr int64_t kMostRows = 4;

// Channels-last rows of outputs. The rows of x are those under the taps; null is a row of padding.
template <class T>
struct DepthwiseRows {
  const T* const* x;  // those under all taps of the output rows, from the top; each at column 0
  int64_t taps_h, taps_w;
  const int64_t* col;  // (taps_w) input column of output 0 under each tap
  int64_t in_step, in_w, channels;
  const T* weight;             // (channel blocks, taps_h, taps_w, lanes), zeros behind the last channel
  const T* bias;               // (channels) or null
  T* y[kMostRows];             // output 0 of each row
  int64_t begin, end, y_step;  // outputs to write, elements between them
  bool clamp;
  T lo, hi;
  // y goes past the caches; every pixel of it starts a cache line. Kernels of several rows heed it.
  bool stream;
  // What the next rows will be the first to read, and where they will write: asked for in order while these
  // are worked on, for they themselves ask for one channel block at a time, far apart. May be empty.
  Ahead<T> ahead_x, ahead_y;
};

// Channels-first: rows of one plane, copied with their padding so that output q reads element col[s] + q of a
// row.
template <class T>
struct DepthwisePlaneRows {
  const T* const* x;  // (taps_h), or (taps_h + 1) for a pair
  int64_t taps_h, taps_w;
  const int64_t* col;
  const T* weight;  // (taps_h, taps_w)
  T bias;
  T* y[2];
  int64_t count;
  bool accumulate;  // adds to y instead of starting from the bias
  bool clamp;
  T lo, hi;
};

// One row's part of the weight gradient.
template <class T>
struct DepthwiseGradientRow {
  const T* const* x;  // (taps_h), null is a row of padding
  int64_t taps_h, taps_w;
  const int64_t* col;
  int64_t in_step, in_w, channels;
  const T* dy;  // (count, channels); channels-first: (count)
  int64_t count;
  T* dw;  // += (taps_h, taps_w, channels); channels-first: (taps_h, taps_w, lanes) partial sums
};

// The part of several neighbouring rows of dy in the weight gradient of a square kernel: dilation 1, the same
// stride along both axes, no null rows.
template <class T>
struct DepthwiseGradientRows {
  const T* const* x;  // those under all taps of the rows, from the top; each at column 0
  const T* dy[kMostRows];
  int64_t col;         // input column of output 0 under the first tap
  int64_t begin, end;  // outputs to take
  int64_t in_w, channels;
  T* dw;                       // += (taps, taps, channels)
  Ahead<T> ahead_x, ahead_dy;  // what the next rows will be the first to read
};

template <class T>
struct DepthwiseKernels {
  int64_t lanes;
  void (*row)(const DepthwiseRows<T>&);
  // `count` neighbouring output rows at once; null where there is none for this kernel. `step` along both
  // axes, dilation 1, no null rows.
  void (*(*rows)(int64_t taps_h, int64_t taps_w, int64_t step, int64_t count))(const DepthwiseRows<T>&);
  void (*plane_row)(const DepthwisePlaneRows<T>&);
  void (*plane_row_pair)(const DepthwisePlaneRows<T>&);
  void (*gradient_row)(const DepthwiseGradientRow<T>&);
  // `count` rows at once; null where there is none for this kernel.
  void (*(*gradient_rows)(int64_t taps, int64_t step, int64_t count))(const DepthwiseGradientRows<T>&);
  void (*gradient_plane_row)(const DepthwiseGradientRow<T>&);
};

NEOCOG_DECLARE_TABLES(DepthwiseKernels, depthwise_kernels)

template <class T>
void depthwise_forward(const ConvGeometry&, Image<const T> x, std::type_identity_t<Weights<T>> weight,
                       const Epilogue<T>&, Image<T> y);

// The adjoint: the input gradient, and transposed depthwise convolution. x has the C * M channels, y has C.
template <class T>
void depthwise_transposed(const ConvGeometry&, Image<const T> x, std::type_identity_t<Weights<T>> weight,
                          const Epilogue<T>&, Image<T> y);

// All gradients in one pass over dy. Those for x and the weight are wanted; that of the bias may be null. For
// one kernel per channel and geometries that `depthwise_backward_suits` names.
template <class T>
bool depthwise_backward_suits(const ConvGeometry&, Image<const T> x, Image<const T> dy);
template <class T>
void depthwise_backward(const ConvGeometry&, Image<const T> x, Image<const T> dy, const T* weight,
                        const ConvGradients<T>&);

template <class T>
void depthwise_backward_weight(const ConvGeometry&, Image<const T> x, Image<const T> dy, T* dw);

}  // namespace neocog
