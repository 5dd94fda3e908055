#include "ops/elementwise/unary.h"

#include "ops/elementwise/strided_loop.h"

namespace neocog {
namespace {

constexpr int64_t kGathered = 256;  // elements that are gathered at a time where they do not lie side by side

// Calls map(x, y, n) for runs of the loop.
template <class Map>
void for_runs(const StridedLoop<2>& loop, const float* x, float* y, Map&& map) {
  const int64_t x_step = loop.step(0), y_step = loop.step(1);
  loop.for_blocks([&](const LoopBlock<2>& block) {
    float tile[kGathered];
    for (int64_t row = 0; row < block.rows; ++row) {
      const float* const from = x + block.offset[0] + row * block.row[0];
      float* const to = y + block.offset[1] + row * block.row[1];
      if (x_step == 1 && y_step == 1) {
        map(from, to, block.n);
        continue;
      }
      for (int64_t i = 0; i < block.n; i += kGathered) {
        const int64_t n = min64(kGathered, block.n - i);
        for (int64_t j = 0; j < n; ++j) tile[j] = from[(i + j) * x_step];
        map(tile, tile, n);
        for (int64_t j = 0; j < n; ++j) to[(i + j) * y_step] = tile[j];
      }
    }
  });
}

}  // namespace

void unary_forward(const UnaryFunction& f, const StridedLoop<2>& loop, const float* x, float* y) {
  const auto map = NEOCOG_SELECT_ISA(unary_kernels_f32).map;
  for_runs(loop, x, y, [&](const float* from, float* to, int64_t n) { map(f, from, to, n); });
}

void activation_forward(Activation f, float alpha, const StridedLoop<2>& loop, const float* x, float* y) {
  if (loop.flat()) {
    elementwise_forward(f, alpha, x, y, loop.size());
    return;
  }
  const auto activate = elementwise_kernels<float>().activate;
  for_runs(loop, x, y, [&](const float* from, float* to, int64_t n) { activate(f, alpha, from, to, n); });
}

}  // namespace neocog
