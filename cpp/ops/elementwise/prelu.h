// Parametric ReLU: y = x where x > 0, weight[c] * x elsewhere, with a learned slope per channel.
// Source: He et al., "Delving deep into rectifiers", 2015, arXiv:1502.01852, section 2.1.
#pragma once

#include <cstdint>

#include "core/isa.h"

namespace neocog {

struct PreluGeometry {
  int64_t outer, channels, inner;  // in memory order; one slope for all is channels = 1
};

template <class T>
struct PreluKernels {
  // Rows of `channels` values, one slope each.
  void (*rows)(const T* x, const T* weight, T* y, int64_t rows, int64_t channels);
  // dx (or null) and, into shares (or null), the sum over the rows of dy * x where x is not positive.
  void (*rows_backward)(const T* dy, const T* x, const T* weight, T* dx, double* shares, int64_t rows,
                        int64_t channels);
  // The same for n contiguous values of one slope; returns their share. Registers add up 64 terms, then
  // float64.
  double (*run_backward)(const T* dy, const T* x, T slope, T* dx, int64_t n);
};

NEOCOG_DECLARE_TABLES(PreluKernels, prelu_kernels)

template <class T>
void prelu_forward(const PreluGeometry&, const T* x, const T* weight, T* y);

// dx and dweight may be null. dweight has the same bits for any number of threads.
template <class T>
void prelu_backward(const PreluGeometry&, const T* dy, const T* x, const T* weight, T* dx, T* dweight);

}  // namespace neocog
