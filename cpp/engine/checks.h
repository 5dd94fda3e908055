// What every step asks of its operands before it looks at them.
#pragma once

#include <cstdint>

#include "engine/operands.h"

namespace neocog {

// A stride for every axis, and no size beyond any memory.
void check_operand(const Operand& operand);
// Also that no two of its elements are one in memory, as a result needs it; strides are positive.
void check_result(const Operand& operand);
// Both; and of one shape.
void check_alike(const Operand& x, const Operand& y);

// The axes from the outermost in memory to the innermost; axes of one element lie anywhere.
std::vector<int64_t> memory_order(const Operand& operand);
// Whether its elements fill a stretch of memory in some order of the axes, and y's one in the same order.
bool packed_alike(const Operand& x, const Operand& y);

// An axis counted from the end if negative.
int64_t checked_axis(int64_t axis, int64_t ndim);

}  // namespace neocog
