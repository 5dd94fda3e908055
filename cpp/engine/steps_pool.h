// Steps that pool. Images x and y lie in one layout; see steps.h.
#pragma once

#include <array>
#include <optional>

#include "engine/steps.h"

namespace neocog {

// Windows of a pooling, height first; how many there are, y says.
struct PoolArguments {
  std::array<int64_t, 2> kernel, stride, dilation;
  std::array<int64_t, 4> padding;  // height begin, end, width begin, end
};

Step max_pool_step(const Operand& x, const PoolArguments&, const Operand& y);
// `divisor`: instead of the number of taps.
Step avg_pool_step(const Operand& x, const PoolArguments&, bool count_padding, std::optional<int64_t> divisor,
                   const Operand& y);
Step adaptive_max_pool_step(const Operand& x, const Operand& y);
Step adaptive_avg_pool_step(const Operand& x, const Operand& y);

}  // namespace neocog
