// Steps that normalise. See steps.h.
#pragma once

#include <optional>

#include "engine/steps.h"

namespace neocog {

struct BatchNormArguments {
  Operand mean, var;
  std::optional<Operand> weight, bias;
  double eps;
  Activation activation;
  float alpha;
};

// x (N, C, ...) and y are dense in one layout, channels first or last; the others have one value per channel.
// y may be x itself.
Step batch_norm_step(const Operand& x, const BatchNormArguments&, const Operand& y);

struct AffineArguments {
  std::optional<Operand> weight, bias;
  double eps;
};

// x (N, C, ...) and y are dense in one layout; weight and bias have one value per channel. y may be x itself.
Step group_norm_step(const Operand& x, int64_t groups, const AffineArguments&, const Operand& y);
// Over the last axes, `axes` of them; x and y are dense and row-major, weight and bias have their shape. y
// may be x itself.
Step layer_norm_step(const Operand& x, int64_t axes, const AffineArguments&, const Operand& y);
// x (N, C, ...) and y are dense in one layout, and do not overlap.
Step lrn_step(const Operand& x, int64_t size, float alpha, float beta, float bias, const Operand& y);

}  // namespace neocog
