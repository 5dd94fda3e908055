// Softmax along one axis: y = e^(x - max) / sum of e^(x - max), the maximum and the sum along that axis.
// An array with the axis in the middle of its memory is (outer, n, inner). A maximum of plus infinity, or a
// NaN, makes the whole line NaN, as in PyTorch. Source: Goodfellow et al., "Deep Learning", 2016, section 4.1
// (subtracting the maximum).
#pragma once

#include <cstdint>

#include "core/isa.h"

namespace neocog {

struct SoftmaxGeometry {
  int64_t outer, n, inner;  // sizes before, of and after the axis, in memory order
};

template <class T>
struct SoftmaxKernels {
  // `rows` lines of n contiguous values.
  void (*rows)(const T* x, T* y, int64_t rows, int64_t n);
  // `columns` lines side by side, their n values `stride` apart.
  void (*columns)(const T* x, T* y, int64_t n, int64_t stride, int64_t columns);
  // log y, as x - max - log(sum of e^(x - max)).
  void (*log_rows)(const T* x, T* y, int64_t rows, int64_t n);
  void (*log_columns)(const T* x, T* y, int64_t n, int64_t stride, int64_t columns);
  void (*rows_backward)(const T* dy, const T* y, T* dx, int64_t rows, int64_t n);
  void (*columns_backward)(const T* dy, const T* y, T* dx, int64_t n, int64_t stride, int64_t columns);
};

NEOCOG_DECLARE_TABLES(SoftmaxKernels, softmax_kernels)

// y may be x, here and below.
template <class T>
void softmax_forward(const SoftmaxGeometry&, const T* x, T* y);
// y = log(softmax of x), exact where the softmax itself vanishes.
template <class T>
void log_softmax_forward(const SoftmaxGeometry&, const T* x, T* y);

// dx = y * (dy - sum of dy * y along the axis); y is the forward's result.
template <class T>
void softmax_backward(const SoftmaxGeometry&, const T* dy, const T* y, T* dx);

}  // namespace neocog
