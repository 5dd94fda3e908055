// Kernel bodies of taps.h, compiled once per instruction set; no include guard on purpose.
#include "core/window.h"
#include "ops/resample/taps.h"

namespace neocog::NEOCOG_ISA {
namespace {

void taps_rows(const float* x, int64_t x_row, const int64_t* index, const float* weight, int64_t taps,
               int64_t outputs, int64_t inner, float* y, int64_t y_row) {
  using V = Vec<float>;
  for (int64_t o = 0; o < outputs; ++o, index += taps, weight += taps, y += y_row) {
    if (inner == 1) {
      float sum = weight[0] * x[index[0] * x_row];
      for (int64_t k = 1; k < taps; ++k) sum += weight[k] * x[index[k] * x_row];
      *y = sum;
      continue;
    }
    int64_t i = 0;
    for (; i + V::lanes <= inner; i += V::lanes) {
      V sum = V::set1(weight[0]) * V::load(x + index[0] * x_row + i);
      for (int64_t k = 1; k < taps; ++k)
        sum = fma(V::set1(weight[k]), V::load(x + index[k] * x_row + i), sum);
      sum.store(y + i);
    }
    if (i == inner) continue;
    const int64_t lanes = inner - i;
    V sum = V::set1(weight[0]) * V::load_n(x + index[0] * x_row + i, lanes);
    for (int64_t k = 1; k < taps; ++k) {
      sum = fma(V::set1(weight[k]), V::load_n(x + index[k] * x_row + i, lanes), sum);
    }
    sum.store_n(y + i, lanes);
  }
}

}  // namespace

extern constinit const TapsKernels taps_kernels_f32 = {&taps_rows};

}  // namespace neocog::NEOCOG_ISA
