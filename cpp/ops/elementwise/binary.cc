#include "ops/elementwise/binary.h"

#include "ops/elementwise/strided_loop.h"

namespace neocog {

void binary_forward(Binary f, Activation activation, float alpha, const StridedLoop<3>& loop, const float* a,
                    const float* b, float* y) {
  if (f == Binary::kAdd && loop.flat()) {
    elementwise_add(activation, alpha, a, b, y, loop.size());
    return;
  }
  const auto rows = NEOCOG_SELECT_ISA(binary_kernels_f32).rows;
  loop.for_blocks([&](const LoopBlock<3>& block) {
    rows({f,
          activation,
          alpha,
          {a + block.offset[0], block.row[0], loop.step(0)},
          {b + block.offset[1], block.row[1], loop.step(1)},
          {y + block.offset[2], block.row[2], loop.step(2)},
          block.rows,
          block.n});
  });
}

}  // namespace neocog
