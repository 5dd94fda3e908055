// Steps that pool. Images x and y lie in one layout; see steps.h.
#pragma once

#include <optional>

#include "engine/steps.h"
#include "ops/pool/pool.h"

namespace neocog {

// The windows of a pooling from x to y, checked.
PoolGeometry sliding_windows(const Image<float>& x, const Image<float>& y, const PoolArguments&,
                             bool count_padding);

Step max_pool_step(const Operand& x, const PoolArguments&, const Operand& y);
// `divisor`: instead of the number of taps.
Step avg_pool_step(const Operand& x, const PoolArguments&, bool count_padding, std::optional<int64_t> divisor,
                   const Operand& y);
Step adaptive_max_pool_step(const Operand& x, const Operand& y);
Step adaptive_avg_pool_step(const Operand& x, const Operand& y);

}  // namespace neocog
