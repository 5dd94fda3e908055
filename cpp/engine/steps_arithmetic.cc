#include "engine/steps_arithmetic.h"

#include <algorithm>
#include <string>

#include "engine/checks.h"
#include "ops/elementwise/binary.h"
#include "ops/elementwise/reduce.h"
#include "ops/elementwise/reduce_loop.h"
#include "ops/elementwise/softmax.h"
#include "ops/elementwise/strided_loop.h"
#include "ops/elementwise/unary.h"
#include "ops/rearrange/copy_strided.h"

namespace neocog {
namespace {

// In the order of the enumerations.
constexpr std::string_view kUnaryNames[] = {
    "celu", "selu",  "hardsigmoid", "clip",   "threshold", "shrink", "softplus",   "softsign", "mish",
    "abs",  "neg",   "sign",        "square", "sqrt",      "rsqrt",  "reciprocal", "exp",      "log",
    "erf",  "floor", "ceil",        "round",  "sin",       "cos",    "tan",        "asin",     "acos",
    "atan", "sinh",  "cosh",        "asinh",  "acosh",     "atanh"};
constexpr std::string_view kBinaryNames[] = {"add", "sub", "mul", "div", "pow", "maximum", "minimum", "mod"};
constexpr std::string_view kReductionNames[] = {"mean",       "sum",   "max",   "min",     "prod",
                                                "sum_square", "norm1", "norm2", "log_sum", "log_sum_exp"};
static_assert(std::size(kUnaryNames) == static_cast<size_t>(Unary::kAtanh) + 1);
static_assert(std::size(kBinaryNames) == static_cast<size_t>(Binary::kMod) + 1);
static_assert(std::size(kReductionNames) == static_cast<size_t>(Reduction::kLogSumExp) + 1);

template <class Enum, size_t N>
Enum named(const std::string_view (&names)[N], std::string_view name) {
  const auto found = std::find(std::begin(names), std::end(names), name);
  if (found == std::end(names))
    throw std::invalid_argument("there is no function '" + std::string(name) + "'");
  return static_cast<Enum>(found - std::begin(names));
}

StridedLoop<2> loop_over(const Operand& x, const Operand& y) {
  check_alike(x, y);
  std::vector<LoopAxis<2>> axes;
  for (size_t i = 0; i < y.shape.size(); ++i) axes.push_back({y.shape[i], {x.stride[i], y.stride[i]}});
  return StridedLoop<2>(std::move(axes));
}

// The strides of an operand along the axes of y; 0 where it is repeated.
std::vector<int64_t> broadcast_strides(const Operand& operand, const Operand& y) {
  check_operand(operand);
  require(operand.ndim() <= y.ndim(), "an operand has more axes than the result");
  std::vector<int64_t> strides(y.shape.size(), 0);
  const size_t missing = y.shape.size() - operand.shape.size();
  for (size_t i = 0; i < operand.shape.size(); ++i) {
    const int64_t n = operand.shape[i];
    require(n == 1 || n == y.shape[missing + i], "operands do not broadcast to the result");
    strides[missing + i] = n == 1 ? 0 : operand.stride[i];
  }
  return strides;
}

Step step_of_pairs(Binary f, const Operand& a, const Operand& b, const Operand& y, Activation activation,
                   float alpha, std::string kernel) {
  check_result(y);
  const std::vector<int64_t> at_a = broadcast_strides(a, y), at_b = broadcast_strides(b, y);
  std::vector<LoopAxis<3>> axes;
  for (size_t i = 0; i < y.shape.size(); ++i) axes.push_back({y.shape[i], {at_a[i], at_b[i], y.stride[i]}});
  const StridedLoop<3> loop(std::move(axes));
  Step step{{a, b}, {y}, nullptr, std::move(kernel)};
  step.run = [=](const Buffers& memory) {
    binary_forward(f, activation, alpha, loop, memory.at(a), memory.at(b), memory.at(y));
  };
  return step;
}

}  // namespace

Step activation_step(const Operand& x, const Operand& y, Activation f, float alpha) {
  Step step{{x}, {y}, nullptr, "activation"};
  step.run = [=, loop = loop_over(x, y)](const Buffers& memory) {
    activation_forward(f, alpha, loop, memory.at(x), memory.at(y));
  };
  return step;
}

Step unary_step(std::string_view name, const Operand& x, const Operand& y, float p, float q) {
  const UnaryFunction f{named<Unary>(kUnaryNames, name), p, q};
  Step step{{x}, {y}, nullptr, std::string(name)};
  step.run = [=, loop = loop_over(x, y)](const Buffers& memory) {
    unary_forward(f, loop, memory.at(x), memory.at(y));
  };
  return step;
}

Step binary_step(std::string_view name, const Operand& a, const Operand& b, const Operand& y,
                 Activation activation, float alpha) {
  const Binary f = named<Binary>(kBinaryNames, name);
  require(f == Binary::kAdd || activation == Activation::kIdentity, "only a sum can have an activation");
  return step_of_pairs(f, a, b, y, activation, alpha, std::string(name));
}

Step prelu_step(const Operand& x, const Operand& slope, const Operand& y) {
  check_alike(x, y);
  return step_of_pairs(Binary::kPrelu, x, slope, y, Activation::kIdentity, 0, "prelu");
}

Step reduce_step(std::string_view name, const Operand& x, const std::vector<int64_t>& axes,
                 const Operand& y) {
  const auto f = named<Reduction>(kReductionNames, name);
  check_operand(x);
  check_result(y);
  std::vector<ReduceAxis> loop_axes;
  for (size_t i = 0; i < x.shape.size(); ++i) loop_axes.push_back({x.shape[i], x.stride[i], 0, false});
  for (const int64_t axis : axes) {
    ReduceAxis& reduced = loop_axes[static_cast<size_t>(checked_axis(axis, x.ndim()))];
    require(!reduced.reduced, "an axis is reduced twice");
    reduced.reduced = true;
  }
  const bool keeps = y.shape.size() == x.shape.size();
  require(keeps || y.shape.size() + axes.size() == x.shape.size(),
          "the result of a reduction has other axes");
  size_t place = 0;
  for (ReduceAxis& axis : loop_axes) {
    if (axis.reduced && !keeps) continue;
    require(y.shape[place] == (axis.reduced ? 1 : axis.size), "the result of a reduction has another shape");
    if (!axis.reduced) axis.y = y.stride[place];
    ++place;
  }
  const bool extreme = f == Reduction::kMax || f == Reduction::kMin;
  require(!extreme || x.size() > 0 || y.size() == 0, "there is no maximum or minimum of nothing");
  Step step{{x}, {y}, nullptr, std::string(name)};
  step.run = [=, loop = ReduceLoop(loop_axes)](const Buffers& memory) {
    reduce_forward(f, loop, memory.at(x), memory.at(y));
  };
  return step;
}

Step softmax_step(const Operand& x, const Operand& y, int64_t axis, bool log) {
  check_alike(x, y);
  require(packed_alike(x, y), "a softmax needs x and y dense in one order of the axes");
  const auto place = static_cast<size_t>(checked_axis(axis, x.ndim()));
  SoftmaxGeometry g{1, x.shape[place], 1};
  for (size_t i = 0; i < x.shape.size(); ++i) {
    if (i != place && x.shape[i] != 1) (x.stride[i] > x.stride[place] ? g.outer : g.inner) *= x.shape[i];
  }
  Step step{{x}, {y}, nullptr, log ? "log_softmax" : "softmax"};
  step.run = [=](const Buffers& memory) {
    if (log) {
      log_softmax_forward<float>(g, memory.at(x), memory.at(y));
    } else {
      softmax_forward<float>(g, memory.at(x), memory.at(y));
    }
  };
  return step;
}

Step copy_step(const Operand& x, const Operand& y) {
  check_alike(x, y);
  std::vector<CopyAxis> axes;
  for (size_t i = 0; i < y.shape.size(); ++i) axes.push_back({y.shape[i], x.stride[i], y.stride[i]});
  Step step{{x}, {y}, nullptr, "copy"};
  step.run = [=](const Buffers& memory) { copy_strided<float>(axes, memory.at(x), memory.at(y)); };
  return step;
}

}  // namespace neocog
