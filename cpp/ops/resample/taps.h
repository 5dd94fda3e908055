// Interpolation along one axis with a table of taps, float32: whatever a filter is, its inputs and weights
// are listed for every output. Products are added in the order of the taps: |error| <= taps * eps * sum
// |weight * x|, and a single tap of weight 1 copies bit by bit.
#pragma once

#include <cstdint>

#include "core/isa.h"

namespace neocog {

// y[n, o, i] = sum over k of weight[o, k] * x[n, index[o, k], i]
struct TapsGeometry {
  int64_t outer, in, out, inner, taps;
};

struct TapsKernels {
  // Outputs of one n; inner < `inner` of the geometry where rows are cut: then x_row and y_row tell them
  // apart.
  void (*rows)(const float* x, int64_t x_row, const int64_t* index, const float* weight, int64_t taps,
               int64_t outputs, int64_t inner, float* y, int64_t y_row);
};

namespace scalar {
extern const TapsKernels taps_kernels_f32;
}
namespace avx2 {
extern const TapsKernels taps_kernels_f32;
}
namespace avx512 {
extern const TapsKernels taps_kernels_f32;
}

// index and weight are (out, taps); every index is one of `in`. y must not overlap x.
void interpolate_taps(const TapsGeometry&, const int64_t* index, const float* weight, const float* x,
                      float* y);

}  // namespace neocog
