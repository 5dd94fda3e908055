#include "engine/steps_products.h"

#include <memory>

#include "engine/checks.h"
#include "ops/conv/bf16_conv.h"
#include "ops/gemm/linear.h"
#include "ops/gemm/matmul.h"

namespace neocog {
namespace {

// The stride of the last axis but `back`; of one element, or none, any stride is that of a run.
int64_t stride_of(const Operand& operand, size_t back) {
  const size_t axis = operand.shape.size() - 1 - back;
  return operand.shape[axis] == 1 || operand.size() == 0 ? 1 : operand.stride[axis];
}

// The stride of a matrix axis, 0 where the operand repeats along that axis of y.
int64_t matrix_stride(const Operand& operand, const Operand& y, size_t axis) {
  const size_t missing = y.shape.size() - operand.shape.size();
  if (axis < missing) return 0;
  const int64_t n = operand.shape[axis - missing];
  require(n == 1 || n == y.shape[axis], "matrices do not broadcast to the result");
  return n == 1 ? 0 : operand.stride[axis - missing];
}

}  // namespace

Step linear_step(const Operand& x, const WeightSource& weight, const std::optional<Operand>& bias,
                 const Operand& y, Activation f, float alpha, bool bf16) {
  check_operand(x);
  check_result(y);
  require(x.ndim() >= 1 && x.ndim() == y.ndim() && x.dense() && y.dense(), "a linear layer needs dense rows");
  const int64_t out = weight.shape()[0], in = weight.shape()[1];
  require(weight.shape()[2] == 1 && weight.shape()[3] == 1, "the weight of a linear layer has two axes");
  require(x.shape.back() == in && y.shape.back() == out, "features of a linear layer do not agree");
  int64_t rows = 1;
  for (size_t i = 0; i + 1 < x.shape.size(); ++i) {
    require(x.shape[i] == y.shape[i], "rows of a linear layer do not agree");
    rows *= x.shape[i];
  }
  bf16 = bf16 && bf16_linear_suits(in, out);
  Step step{{x}, {y}, nullptr, bf16 ? bf16_linear_name() : "matrix product"};
  weight.add_to(step);
  if (bias) {
    check_operand(*bias);
    require(bias->dense() && bias->size() == out, "the bias of a linear layer has one value per output");
    step.reads.push_back(*bias);
  }
  step.run = [=](const Buffers& memory) {
    if (bf16) {
      bf16_linear(rows, in, out, memory.at(x), weight.at(memory), bias ? memory.at(*bias) : nullptr, f, alpha,
                  memory.at(y));
      return;
    }
    linear_forward<float>(rows, in, out, memory.at(x), weight.at(memory), bias ? memory.at(*bias) : nullptr,
                          f, alpha, memory.at(y));
  };
  return step;
}

Step matmul_step(const Operand& a, const Operand& b, const Operand& y) {
  check_operand(a);
  check_operand(b);
  check_result(y);
  require(a.ndim() >= 2 && b.ndim() >= 2 && a.ndim() <= y.ndim() && b.ndim() <= y.ndim(),
          "matrices have two axes or more");
  const size_t batch_axes = y.shape.size() - 2;
  const MatmulGeometry g{y.shape[batch_axes],           a.shape.back(),  y.shape[batch_axes + 1],
                         a.stride[a.stride.size() - 2], stride_of(b, 1), stride_of(b, 0),
                         y.stride[batch_axes]};
  require(a.shape[a.shape.size() - 2] == g.rows && b.shape[b.shape.size() - 2] == g.depth &&
              b.shape.back() == g.columns,
          "the sizes of matrices do not agree");
  require(stride_of(a, 0) == 1 && stride_of(y, 0) == 1 && (g.b_row == 1 || g.b_column == 1),
          "rows of matrices must be contiguous");
  std::vector<MatmulOffsets> products{{0, 0, 0}};
  for (size_t axis = 0; axis < batch_axes; ++axis) {
    const int64_t at_a = matrix_stride(a, y, axis), at_b = matrix_stride(b, y, axis);
    require(y.shape[axis] * static_cast<int64_t>(products.size()) < int64_t{1} << 24,
            "there are too many matrices");
    std::vector<MatmulOffsets> more;
    for (const MatmulOffsets& p : products) {
      for (int64_t i = 0; i < y.shape[axis]; ++i) {
        more.push_back({p.a + i * at_a, p.b + i * at_b, p.y + i * y.stride[axis]});
      }
    }
    products = std::move(more);
  }
  Step step{{a, b}, {y}, nullptr, "matrix products"};
  step.run = [=, all = std::make_shared<const std::vector<MatmulOffsets>>(std::move(products))](
                 const Buffers& memory) {
    matmul_forward(g, *all, memory.at(a), memory.at(b), memory.at(y));
  };
  return step;
}

}  // namespace neocog
