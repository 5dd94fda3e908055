// Reductions over any axes of an array with any strides, float32: y = f(x over the reduced axes).
// Sums take up to 32 terms in a register, then go to float64; squares and products are float64 from the
// start. All are cut by geometry: same bits for any number of threads. Maxima are exact, and NaN wins. Over
// no elements a sum is 0, a product 1, a mean NaN and a maximum minus infinity.
#pragma once

#include <cstdint>

#include "core/isa.h"

namespace neocog {

enum class Reduction : int {
  kMean,
  kSum,
  kMax,
  kMin,
  kProd,
  kSumSquare,
  kNorm1,
  kNorm2,
  kLogSum,
  kLogSumExp,  // around the maximum
};

// What a total takes in.
enum class Fold : int { kSum, kSumSquares, kSumMagnitudes, kSumExp, kProduct, kMax, kMin };

struct ReduceKernels {
  // *total takes in x[i * step], i < n; kSumExp: e^(x - *shift).
  void (*run)(Fold f, const float* shift, const float* x, int64_t n, int64_t step, double* total);
  // totals[i] takes in x[r * stride + i * step], r < rows, i < columns; kSumExp: e^(x - shift[i]).
  void (*columns)(Fold f, const float* shift, const float* x, int64_t rows, int64_t stride, int64_t columns,
                  int64_t step, double* totals);
};

namespace scalar {
extern const ReduceKernels reduce_kernels_f32;
}
namespace avx2 {
extern const ReduceKernels reduce_kernels_f32;
}
namespace avx512 {
extern const ReduceKernels reduce_kernels_f32;
}

class ReduceLoop;  // reduce_loop.h

void reduce_forward(Reduction f, const ReduceLoop& loop, const float* x, float* y);

}  // namespace neocog
