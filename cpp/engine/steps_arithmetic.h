// Steps that compute element by element, along axes, or nothing at all. See steps.h.
#pragma once

#include <string_view>
#include <vector>

#include "engine/steps.h"

namespace neocog {

// x and y have one shape and any strides; y may be x itself: the same memory in the same order.
Step activation_step(const Operand& x, const Operand& y, Activation f, float alpha);
// `name` is one of those of unary.h in snake case; p and q are what the function takes besides x.
Step unary_step(std::string_view name, const Operand& x, const Operand& y, float p, float q);
// NumPy's broadcasting to the shape of y, any strides; y may be an operand of its shape itself. Names: add,
// sub, mul, div, pow, maximum, minimum, mod. A sum can have an activation.
Step binary_step(std::string_view name, const Operand& a, const Operand& b, const Operand& y, Activation f,
                 float alpha);
// The slope broadcasts to x; y may be x itself.
Step prelu_step(const Operand& x, const Operand& slope, const Operand& y);
// y has the axes of x, the reduced ones with one element, or lacks those. y must not overlap x. Names: mean,
// sum, max, min, prod, sum_square, norm1, norm2, log_sum, log_sum_exp.
Step reduce_step(std::string_view name, const Operand& x, const std::vector<int64_t>& axes, const Operand& y);
// x and y are dense in one order of the axes, whichever; y may be x itself.
Step softmax_step(const Operand& x, const Operand& y, int64_t axis, bool log);
// x and y have one shape and any strides (x may repeat, and run backwards); they do not overlap.
Step copy_step(const Operand& x, const Operand& y);

}  // namespace neocog
