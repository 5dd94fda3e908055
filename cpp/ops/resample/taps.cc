#include "ops/resample/taps.h"

#include "core/parallel.h"
#include "core/window.h"

namespace neocog {

void interpolate_taps(const TapsGeometry& g, const int64_t* index, const float* weight, const float* x,
                      float* y) {
  if (g.outer == 0 || g.out == 0 || g.inner == 0) return;
  constexpr int64_t kItem = 1 << 14;  // results one thread computes at a time
  const auto rows = NEOCOG_SELECT_ISA(taps_kernels_f32).rows;
  const int64_t width = min64(g.inner, kItem), pieces = ceil_div(g.inner, width);
  const int64_t height = min64(g.out, max64(1, kItem / width)), blocks = ceil_div(g.out, height);
  const int64_t units = g.outer * blocks * pieces, per_item = max64(1, kItem / (width * height));
  parallel_for(ceil_div(units, per_item), [&](int64_t item, int) {
    for (int64_t u = item * per_item; u < min64(units, (item + 1) * per_item); ++u) {
      const int64_t i = u % pieces * width, o = u / pieces % blocks * height, n = u / (pieces * blocks);
      rows(x + n * g.in * g.inner + i, g.inner, index + o * g.taps, weight + o * g.taps, g.taps,
           min64(height, g.out - o), min64(width, g.inner - i), y + (n * g.out + o) * g.inner + i, g.inner);
    }
  });
}

}  // namespace neocog
