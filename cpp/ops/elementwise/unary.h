// Functions of one number beside the activations: y = f(x), float32.
// Vector bodies err by a few ulp, the others are the C library's (README.md). NaN stays NaN, but for
// kThreshold.
#pragma once

#include <cstdint>

#include "core/isa.h"
#include "ops/elementwise/elementwise.h"

namespace neocog {

template <int N>
class StridedLoop;  // strided_loop.h

// p and q are what a function takes besides x.
enum class Unary : int {
  kCelu,         // p: alpha
  kSelu,         // p: alpha, q: gamma
  kHardsigmoid,  // max(0, min(1, p x + q))
  kClip,         // min(q, max(p, x))
  kThreshold,    // x where x > p, else q
  kShrink,       // x - q above p, x + q below -p, else 0
  kSoftplus,
  kSoftsign,
  kMish,
  kAbs,
  kNeg,
  kSign,
  kSquare,
  kSqrt,
  kRsqrt,
  kReciprocal,
  kExp,
  kLog,
  kErf,
  kFloor,
  kCeil,
  kRound,  // halves to the even number
  kSin,
  kCos,
  kTan,
  kAsin,
  kAcos,
  kAtan,
  kSinh,
  kCosh,
  kAsinh,
  kAcosh,
  kAtanh,
};

struct UnaryFunction {
  Unary f;
  float p = 0, q = 0;
};

struct UnaryKernels {
  // y[i] = f(x[i]), i < n; y may be x.
  void (*map)(const UnaryFunction&, const float* x, float* y, int64_t n);
};

namespace scalar {
extern const UnaryKernels unary_kernels_f32;
}
namespace avx2 {
extern const UnaryKernels unary_kernels_f32;
}
namespace avx512 {
extern const UnaryKernels unary_kernels_f32;
}

// The loop's arrays are x and y; y may be x itself: the same memory in the same order.
void unary_forward(const UnaryFunction& f, const StridedLoop<2>& loop, const float* x, float* y);
// An activation of arrays that are no single run of memory.
void activation_forward(Activation f, float alpha, const StridedLoop<2>& loop, const float* x, float* y);

}  // namespace neocog
