// Functions of two arrays with NumPy's broadcasting, float32, any strides: y = f(a, b).
// A NaN of either operand is one of the result; kPow is the C library's, kMod has the sign of the divisor.
#pragma once

#include <cstdint>

#include "core/isa.h"
#include "ops/elementwise/elementwise.h"

namespace neocog {

template <int N>
class StridedLoop;  // strided_loop.h

// kPrelu: a where a > 0, a * b elsewhere.
enum class Binary : int { kAdd, kSub, kMul, kDiv, kPow, kMaximum, kMinimum, kMod, kPrelu };

// Rows of one operand: from row to row, and from element to element; 0 repeats.
template <class T>
struct BinaryOperand {
  T* data;
  int64_t row, step;
};

struct BinaryRows {
  Binary f;
  Activation activation;  // of a sum; other functions have none
  float alpha;
  BinaryOperand<const float> a, b;
  BinaryOperand<float> y;
  int64_t rows, n;
};

struct BinaryKernels {
  void (*rows)(const BinaryRows&);
};

namespace scalar {
extern const BinaryKernels binary_kernels_f32;
}
namespace avx2 {
extern const BinaryKernels binary_kernels_f32;
}
namespace avx512 {
extern const BinaryKernels binary_kernels_f32;
}

// y = activation(f(a, b)), the loop's arrays being a, b and y; only kAdd has an activation. y may be a or b
// itself: the same memory in the same order.
void binary_forward(Binary f, Activation activation, float alpha, const StridedLoop<3>& loop, const float* a,
                    const float* b, float* y);

}  // namespace neocog
