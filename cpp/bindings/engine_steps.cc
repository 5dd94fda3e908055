// The steps of a program; no arithmetic and no choices.
#include "bindings/engine.h"
#include "engine/steps_arithmetic.h"
#include "engine/steps_norm.h"
#include "engine/steps_pool.h"
#include "engine/steps_products.h"
#include "engine/steps_resample.h"

namespace neocog::bindings {
namespace {

using MaybeOperand = std::optional<Operand>;

PoolArguments pool(const Pair& kernel, const Pair& stride, const Padding& padding, const Pair& dilation) {
  return {kernel, stride, dilation, padding};
}

void add_activation(Program& program, const Operand& x, const Operand& y, int code, float alpha) {
  program.add(activation_step(x, y, activation_of(code), alpha));
}

void add_unary(Program& program, const std::string& name, const Operand& x, const Operand& y, float p,
               float q) {
  program.add(unary_step(name, x, y, p, q));
}

void add_binary(Program& program, const std::string& name, const Operand& a, const Operand& b,
                const Operand& y, int activation, float alpha) {
  program.add(binary_step(name, a, b, y, activation_of(activation), alpha));
}

void add_prelu(Program& program, const Operand& x, const Operand& slope, const Operand& y) {
  program.add(prelu_step(x, slope, y));
}

void add_reduce(Program& program, const std::string& name, const Operand& x, const std::vector<int64_t>& axes,
                const Operand& y) {
  program.add(reduce_step(name, x, axes, y));
}

void add_softmax(Program& program, const Operand& x, const Operand& y, int64_t axis, bool log) {
  program.add(softmax_step(x, y, axis, log));
}

void add_copy(Program& program, const Operand& x, const Operand& y) {
  program.add(copy_step(x, y));
}

void add_linear(Program& program, const Operand& x, const WeightArgument& weights, const MaybeOperand& bias,
                const Operand& y, int activation, float alpha, bool bf16) {
  program.add(linear_step(x, source(weights), bias, y, activation_of(activation), alpha, bf16));
}

void add_matmul(Program& program, const Operand& a, const Operand& b, const Operand& y) {
  program.add(matmul_step(a, b, y));
}

void add_group_norm(Program& program, const Operand& x, const MaybeOperand& weight, const MaybeOperand& bias,
                    const Operand& y, int64_t groups, double eps) {
  program.add(group_norm_step(x, groups, {weight, bias, eps}, y));
}

void add_layer_norm(Program& program, const Operand& x, const MaybeOperand& weight, const MaybeOperand& bias,
                    const Operand& y, int64_t axes, double eps) {
  program.add(layer_norm_step(x, axes, {weight, bias, eps}, y));
}

void add_lrn(Program& program, const Operand& x, const Operand& y, int64_t size, float alpha, float beta,
             float bias) {
  program.add(lrn_step(x, size, alpha, beta, bias, y));
}

void add_interpolate(Program& program, const Operand& x, const Operand& y, int64_t axis, int64_t taps,
                     std::vector<int64_t> index, std::vector<float> weight) {
  program.add(interpolate_step(x, y, axis, taps, std::move(index), std::move(weight)));
}

void add_resize(Program& program, const Operand& x, const Operand& y, int mode, bool align_corners) {
  program.add(resize_step(x, y, mode, align_corners));
}

void add_batch_norm(Program& program, const Operand& x, const Operand& mean, const Operand& var,
                    const MaybeOperand& weight, const MaybeOperand& bias, const Operand& y, double eps,
                    int activation, float alpha) {
  program.add(batch_norm_step(x, {mean, var, weight, bias, eps, activation_of(activation), alpha}, y));
}

void add_max_pool(Program& program, const Operand& x, const Operand& y, const Pair& kernel,
                  const Pair& stride, const Padding& padding, const Pair& dilation) {
  program.add(max_pool_step(x, pool(kernel, stride, padding, dilation), y));
}

void add_avg_pool(Program& program, const Operand& x, const Operand& y, const Pair& kernel,
                  const Pair& stride, const Padding& padding, bool count_padding,
                  std::optional<int64_t> divisor) {
  program.add(avg_pool_step(x, pool(kernel, stride, padding, {1, 1}), count_padding, divisor, y));
}

void add_adaptive_max_pool(Program& program, const Operand& x, const Operand& y) {
  program.add(adaptive_max_pool_step(x, y));
}

void add_adaptive_avg_pool(Program& program, const Operand& x, const Operand& y) {
  program.add(adaptive_avg_pool_step(x, y));
}

}  // namespace

void bind_engine_steps(ProgramClass& program) {
  program.def("activation", &add_activation, "x"_a, "y"_a, "code"_a, "alpha"_a)
      .def("unary", &add_unary, "name"_a, "x"_a, "y"_a, "p"_a = 0.0f, "q"_a = 0.0f)
      .def("binary", &add_binary, "name"_a, "a"_a, "b"_a, "y"_a, "activation"_a = 0, "alpha"_a = 0.0f)
      .def("prelu", &add_prelu, "x"_a, "slope"_a, "y"_a)
      .def("reduce", &add_reduce, "name"_a, "x"_a, "axes"_a, "y"_a)
      .def("softmax", &add_softmax, "x"_a, "y"_a, "axis"_a, "log"_a)
      .def("copy", &add_copy, "x"_a, "y"_a)
      // The program reads the weights' memory as long as it lives.
      .def("linear", &add_linear, "x"_a, "weights"_a, "bias"_a, "y"_a, "activation"_a = 0, "alpha"_a = 0.0f,
           "bf16"_a = false, py::keep_alive<1, 3>())
      .def("matmul", &add_matmul, "a"_a, "b"_a, "y"_a)
      .def("group_norm", &add_group_norm, "x"_a, "weight"_a, "bias"_a, "y"_a, "groups"_a, "eps"_a)
      .def("layer_norm", &add_layer_norm, "x"_a, "weight"_a, "bias"_a, "y"_a, "axes"_a, "eps"_a)
      .def("lrn", &add_lrn, "x"_a, "y"_a, "size"_a, "alpha"_a, "beta"_a, "bias"_a)
      .def("interpolate", &add_interpolate, "x"_a, "y"_a, "axis"_a, "taps"_a, "index"_a, "weight"_a)
      .def("resize", &add_resize, "x"_a, "y"_a, "mode"_a, "align_corners"_a)
      .def("batch_norm", &add_batch_norm, "x"_a, "mean"_a, "var"_a, "weight"_a, "bias"_a, "y"_a, "eps"_a,
           "activation"_a = 0, "alpha"_a = 0.0f)
      .def("max_pool", &add_max_pool, "x"_a, "y"_a, "kernel"_a, "stride"_a, "padding"_a, "dilation"_a)
      .def("avg_pool", &add_avg_pool, "x"_a, "y"_a, "kernel"_a, "stride"_a, "padding"_a, "count_padding"_a,
           "divisor"_a)
      .def("adaptive_max_pool", &add_adaptive_max_pool, "x"_a, "y"_a)
      .def("adaptive_avg_pool", &add_adaptive_avg_pool, "x"_a, "y"_a);
}

}  // namespace neocog::bindings
