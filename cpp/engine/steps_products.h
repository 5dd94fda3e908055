// Steps that multiply matrices. See steps.h.
#pragma once

#include <optional>

#include "engine/steps.h"

namespace neocog {

// y = f(x weight^T + bias) over the last axis; x (..., I) and y (..., O) are dense and row-major, weight is
// (O, I, 1, 1). `bf16` as in conv_step.
Step linear_step(const Operand& x, const WeightSource& weight, const std::optional<Operand>& bias,
                 const Operand& y, Activation f, float alpha, bool bf16);

// NumPy's product of a (..., M, K) and b (..., K, N) to y (..., M, N), the other axes broadcast. Rows of a
// and y are contiguous; b is contiguous along one of its last two axes. y does not overlap a or b.
Step matmul_step(const Operand& a, const Operand& b, const Operand& y);

}  // namespace neocog
