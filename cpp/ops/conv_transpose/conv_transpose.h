// Transposed convolution: the adjoint of conv.h, which is also convolution's gradient for its input.
//   y[n,o,p,q] = f(bias[o] + sum over c,i,j,r,s with h.tap(i,r) = p, w.tap(j,s) = q of x[n,c,i,j] *
//   weight[c,o,r,s])
// The geometry is that of the convolution that maps y to x: in_channels are y's, h.in is y's height.
// Computed by output phases: outputs of one residue modulo the stride are a stride-1 product over their own
// taps, so nothing is multiplied by an inserted zero and every output is written once. Source: Dumoulin and
// Visin, "A guide to convolution arithmetic", arXiv:1603.07285, chapter 4.
#pragma once

#include "ops/conv/conv.h"

namespace neocog {

// x and y may be slices of channels, as in conv_forward.
template <class T>
void conv_transpose_forward(const ConvGeometry&, Image<const T> x, std::type_identity_t<Weights<T>> weight,
                            const Epilogue<T>&, Image<T> y);

// The gradients that are wanted; that of x is a convolution of dy.
template <class T>
void conv_transpose_backward(const ConvGeometry&, Image<const T> x, Image<const T> dy, const T* weight,
                             const ConvGradients<T>&);

}  // namespace neocog
