// Activations and sums, value by value: y[i] = f(x[i]).
// Arrays are dense; any memory order is flat memory here. Results err by a few ulp of the value, or of the
// terms they are the sum of (README.md); NaN and infinity propagate as in PyTorch.
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
  // The same with results written past the caches; the result is aligned to 64 bytes and no operand.
  void (*stream_activate)(Activation f, T alpha, const T* x, T* y, int64_t n);
  void (*stream_activate_backward)(Activation f, T alpha, const T* dy, const T* x, T* dx, int64_t n);
  void (*stream_add)(Activation f, T alpha, const T* a, const T* b, T* y, int64_t n);
};

NEOCOG_DECLARE_TABLES(ElementwiseKernels, elementwise_kernels)

// y = f(x), n values shared among the threads; y may be x.
template <class T>
void elementwise_forward(Activation f, T alpha, const T* x, T* y, int64_t n);

// dx = dy * f'(x); for kSigmoid and kTanh `x` is the forward's result. dx may be dy or x.
template <class T>
void elementwise_backward(Activation f, T alpha, const T* dy, const T* x, T* dx, int64_t n);

// y = f(a + b), arrays of one shape; y may be a or b.
template <class T>
void elementwise_add(Activation f, T alpha, const T* a, const T* b, T* y, int64_t n);

// Whether a result of this many bytes goes past the caches: it would push out more than it leaves behind.
bool streams_past_caches(const void* result, int64_t bytes);

}  // namespace neocog
