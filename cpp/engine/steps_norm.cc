#include "engine/steps_norm.h"

#include "engine/checks.h"
#include "ops/batch_norm/batch_norm.h"
#include "ops/batch_norm/group_norm.h"
#include "ops/batch_norm/lrn.h"

namespace neocog {
namespace {

// (N, C, ...) as batch, channels and pixels: x and y dense in one layout.
BatchNormGeometry channels_of(const Operand& x, const Operand& y) {
  check_alike(x, y);
  require(x.ndim() >= 2, "a normalisation needs a batch axis and channels");
  std::vector<int64_t> last{0};
  for (int64_t axis = 2; axis < x.ndim(); ++axis) last.push_back(axis);
  last.push_back(1);
  const bool first = x.dense() && y.dense();
  require(first || (x.dense(last.data()) && y.dense(last.data())), "a normalisation needs dense images");
  BatchNormGeometry g{x.shape[0], x.shape[1], 1, first ? Layout::kChannelsFirst : Layout::kChannelsLast};
  for (size_t axis = 2; axis < x.shape.size(); ++axis) g.pixels *= x.shape[axis];
  return g;
}

void check_values(const std::optional<Operand>& operand, int64_t count) {
  if (!operand) return;
  check_operand(*operand);
  require(operand->dense() && operand->size() == count, "weight or bias of a normalisation has another size");
}

const float* data_of(const std::optional<Operand>& operand, const Buffers& memory) {
  return operand ? memory.at(*operand) : nullptr;
}

void add_reads(Step& step, const std::optional<Operand>& weight, const std::optional<Operand>& bias) {
  if (weight) step.reads.push_back(*weight);
  if (bias) step.reads.push_back(*bias);
}

}  // namespace

Step batch_norm_step(const Operand& x, const BatchNormArguments& a, const Operand& y) {
  const BatchNormGeometry g = channels_of(x, y);
  for (const auto& values : {std::optional(a.mean), std::optional(a.var), a.weight, a.bias}) {
    check_values(values, g.channels);
  }
  Step step{{x, a.mean, a.var}, {y}, nullptr, "batch_norm"};
  add_reads(step, a.weight, a.bias);
  step.run = [=](const Buffers& memory) {
    batch_norm_inference<float>(g, memory.at(x), memory.at(a.mean), memory.at(a.var),
                                data_of(a.weight, memory), data_of(a.bias, memory), a.eps, a.activation,
                                a.alpha, memory.at(y));
  };
  return step;
}

Step group_norm_step(const Operand& x, int64_t groups, const AffineArguments& a, const Operand& y) {
  const BatchNormGeometry g = channels_of(x, y);
  require(groups > 0 && g.channels % groups == 0, "the channels do not divide into groups");
  check_values(a.weight, g.channels);
  check_values(a.bias, g.channels);
  Step step{{x}, {y}, nullptr, "group_norm"};
  add_reads(step, a.weight, a.bias);
  step.run = [=](const Buffers& memory) {
    group_norm(g, groups, memory.at(x), data_of(a.weight, memory), data_of(a.bias, memory), a.eps,
               memory.at(y));
  };
  return step;
}

Step layer_norm_step(const Operand& x, int64_t axes, const AffineArguments& a, const Operand& y) {
  check_alike(x, y);
  require(x.dense() && y.dense(), "a layer normalisation needs dense rows");
  require(0 < axes && axes <= x.ndim(), "a layer normalisation has axes of x");
  int64_t n = 1, rows = 1;
  for (int64_t i = 0; i < x.ndim(); ++i) (i < x.ndim() - axes ? rows : n) *= x.shape[static_cast<size_t>(i)];
  check_values(a.weight, n);
  check_values(a.bias, n);
  Step step{{x}, {y}, nullptr, "layer_norm"};
  add_reads(step, a.weight, a.bias);
  step.run = [=](const Buffers& memory) {
    layer_norm(rows, n, memory.at(x), data_of(a.weight, memory), data_of(a.bias, memory), a.eps,
               memory.at(y));
  };
  return step;
}

Step lrn_step(const Operand& x, int64_t size, float alpha, float beta, float bias, const Operand& y) {
  const BatchNormGeometry g = channels_of(x, y);
  require(0 < size && size < int64_t{1} << 30, "a local response normalisation has no such size");
  const LrnParameters parameters{size, alpha / static_cast<float>(size), beta, bias};
  Step step{{x}, {y}, nullptr, "lrn"};
  step.run = [=](const Buffers& memory) { lrn(g, parameters, memory.at(x), memory.at(y)); };
  return step;
}

}  // namespace neocog
