// The steps of a program: each checks that its operands fit together, chooses nothing that could be chosen
// once, and calls one kernel of ops/. Throws std::invalid_argument.
#pragma once

#include <array>
#include <memory>
#include <optional>

#include "engine/program.h"
#include "ops/conv/conv.h"

namespace neocog {

// Weights of a layer, with what kernels made of them; programs for several sizes share one. (O, I/groups, R,
// S).
struct LayerWeights {
  const float* data;  // the caller's memory
  std::array<int64_t, 4> shape;
  KeptWeights kept;
};
using LayerWeightsPtr = std::shared_ptr<LayerWeights>;

// The weights of a layer, or those that another step computes: a dense operand, from which nothing is kept.
class WeightSource {
 public:
  WeightSource(LayerWeightsPtr layer) : layer_(std::move(layer)), shape_(layer_->shape) {}  // NOLINT: is one
  WeightSource(const Operand& operand);                                                     // NOLINT
  const std::array<int64_t, 4>& shape() const { return shape_; }
  Weights<float> at(const Buffers& memory) const {
    return layer_ ? Weights<float>(layer_->data, &layer_->kept) : Weights<float>(memory.at(operand_));
  }
  void add_to(Step& step) const {
    if (!layer_) step.reads.push_back(operand_);
    step.keeps = step.keeps || layer_;
  }

 private:
  LayerWeightsPtr layer_;
  Operand operand_{};
  std::array<int64_t, 4> shape_;
};

// A window per axis of the image, height first.
struct WindowArguments {
  std::array<int64_t, 2> stride, dilation;
  std::array<int64_t, 4> padding;  // height begin, end, width begin, end
  int64_t groups;
};

struct EpilogueArguments {
  std::optional<Operand> bias, residual;
  Activation activation;
  float alpha;
};

// One value per channel of x each: separable.h.
struct PrologueArguments {
  Operand center, scale, shift;
  Activation activation;
  float alpha;
};

// Windows of a pooling, height first; how many there are, its result says.
struct PoolArguments {
  std::array<int64_t, 2> kernel, stride, dilation;
  std::array<int64_t, 4> padding;  // height begin, end, width begin, end
};

// The maximum pooling of what a convolution computes, as a part of its step.
struct PooledArguments {
  PoolArguments windows;
  Operand y;
};

// Images are (N, C, H, W), dense in one of the two layouts, or (N, C, L). Where channels or pixels are one,
// both fit: the layout is then that of the other image.
// With `bf16`, what suits it is computed from bfloat16 numbers (bf16_conv.h).
// With `pooled`, y may be none: then it is not wanted itself.
Step conv_step(const Operand& x, const WeightSource& weight, const WindowArguments&, const EpilogueArguments&,
               const std::optional<Operand>& y, bool bf16, const std::optional<PooledArguments>& pooled);
// The window is that of the convolution from y to x; y's size says how many outputs there are.
Step conv_transpose_step(const Operand& x, const WeightSource& weight, const WindowArguments&,
                         const EpilogueArguments&, const Operand& y);
Step separable_conv_step(const Operand& x, const WeightSource& depthwise, const WeightSource& pointwise,
                         const std::optional<PrologueArguments>&, const WindowArguments&,
                         const EpilogueArguments&, const std::optional<Operand>& y,
                         const std::optional<PooledArguments>& pooled);

// Whether such steps, without a residual, take a pooling.
bool conv_step_pools(const Operand& x, const WeightSource& weight, const WindowArguments&, Activation,
                     const PooledArguments&);
bool separable_conv_step_pools(const Operand& x, const WeightSource& depthwise, const WeightSource& pointwise,
                               const WindowArguments&, const PooledArguments&);

}  // namespace neocog
