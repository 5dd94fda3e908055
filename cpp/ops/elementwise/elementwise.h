// Activations and sums, value by value: y[i] = f(x[i]).
#pragma once

#include <cstdint>

#include "core/isa.h"

namespace neocog {

// alpha is the slope of kLeakyRelu and the scale of kElu; the others ignore it.
enum class Activation : int {
  kIdentity,
  kRelu,
  kRelu6,
  kLeakyRelu,
  kElu,
  kGelu,
  kGeluTanh,
  kSilu,
  kSigmoid,
  kTanh,
  kHardswish,
};

template <class T>
struct ElementwiseKernels {
  // y = f(x); y may be x.
  void (*activate)(Activation f, T alpha, const T* x, T* y, int64_t n);
  // dx = dy * f'(x); for kSigmoid and kTanh `x` is the forward's result.
  void (*activate_backward)(Activation f, T alpha, const T* dy, const T* x, T* dx, int64_t n);
  // y = f(y + residual); residual may be null.
  void (*epilogue)(Activation f, T alpha, const T* residual, T* y, int64_t n);
  // y = f(a + b).
  void (*add)(Activation f, T alpha, const T* a, const T* b, T* y, int64_t n);
};

NEOCOG_DECLARE_TABLES(ElementwiseKernels, elementwise_kernels)

}  // namespace neocog
