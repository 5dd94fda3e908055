// Sums with NumPy's broadcasting, and the sums over axes that undo it in a backward pass.
// Arrays are dense and row-major; both operands have y's rank, with size 1 along the axes that are broadcast.
#pragma once

#include <cstdint>
#include <span>

#include "core/isa.h"
#include "ops/elementwise/elementwise.h"

namespace neocog {

template <class T>
struct BroadcastKernels {
  // y[r, i] = a[r, i] + b[r, i], rows a_row, b_row and y_row apart (0: the same row again).
  void (*add_rows)(const T* a, int64_t a_row, const T* b, int64_t b_row, T* y, int64_t y_row, int64_t rows,
                   int64_t n);
  // y[r, i] = a[r, i] + b[r]
  void (*add_scalars)(const T* a, int64_t a_row, const T* b, int64_t b_row, T* y, int64_t y_row, int64_t rows,
                      int64_t n);
  // sums[r] = sum over i of x[r, i], rows of n contiguous values.
  void (*sum_rows)(const T* x, int64_t rows, int64_t n, double* sums);
  // sums[i] = sum over r of x[r, i], rows `stride` apart.
  void (*sum_columns)(const T* x, int64_t rows, int64_t stride, int64_t columns, double* sums);
};

NEOCOG_DECLARE_TABLES(BroadcastKernels, broadcast_kernels)

using Shape = std::span<const int64_t>;

// y = f(a + b), y having the larger of the two sizes along every axis.
template <class T>
void broadcast_add(Activation f, T alpha, Shape a_shape, Shape b_shape, const T* a, const T* b, T* y);

// y = x summed over the axes where y has size 1, in float64 over every group of adjacent axes, and rounded to
// T between the groups. Same bits for any number of threads.
template <class T>
void broadcast_sum(Shape x_shape, Shape y_shape, const T* x, T* y);

}  // namespace neocog
