#include "bindings/arrays.h"
#include "ops/conv/bf16_conv.h"
#include "ops/gemm/linear.h"

namespace neocog::bindings {
namespace {

py::array linear_forward(const py::array& x, const py::array& weight, const MaybeArray& bias, bool bf16) {
  return with_dtype(x, [&](auto zero) -> py::array {
    using T = decltype(zero);
    require(x.ndim() == 2 && weight.ndim() == 2 && x.shape(1) == weight.shape(1),
            "x and `weight` do not conform");
    const int64_t rows = x.shape(0), in = x.shape(1), out = weight.shape(0);
    const T *px = dense<T>(x, rows * in), *pw = dense<T>(weight, out * in), *pb = dense_or_null<T>(bias, out);
    py::array_t<T> y = new_dense<T>({rows, out});
    T* const out_data = y.mutable_data();
    require(!bf16 || std::is_same_v<T, float>, "bf16 takes float32 arrays");
    const py::gil_scoped_release nogil;
    if constexpr (std::is_same_v<T, float>) {
      if (bf16) {
        bf16_linear(rows, in, out, px, pw, pb, Activation::kIdentity, 0.0f, out_data);
        return y;
      }
    }
    neocog::linear_forward<T>(rows, in, out, px, pw, pb, out_data);
    return y;
  });
}

py::array linear_backward_x(const py::array& dy, const py::array& weight) {
  return with_dtype(dy, [&](auto zero) -> py::array {
    using T = decltype(zero);
    require(dy.ndim() == 2 && weight.ndim() == 2 && dy.shape(1) == weight.shape(0),
            "dy and `weight` do not conform");
    const int64_t rows = dy.shape(0), in = weight.shape(1), out = weight.shape(0);
    const T *pdy = dense<T>(dy, rows * out), *pw = dense<T>(weight, out * in);
    py::array_t<T> dx = new_dense<T>({rows, in});
    T* const pdx = dx.mutable_data();
    const py::gil_scoped_release nogil;
    neocog::linear_backward_x<T>(rows, in, out, pdy, pw, pdx);
    return dx;
  });
}

py::array linear_backward_weight(const py::array& dy, const py::array& x) {
  return with_dtype(dy, [&](auto zero) -> py::array {
    using T = decltype(zero);
    require(dy.ndim() == 2 && x.ndim() == 2 && dy.shape(0) == x.shape(0), "dy and x do not conform");
    const int64_t rows = x.shape(0), in = x.shape(1), out = dy.shape(1);
    const T *pdy = dense<T>(dy, rows * out), *px = dense<T>(x, rows * in);
    py::array_t<T> dw = new_dense<T>({out, in});
    T* const pdw = dw.mutable_data();
    const py::gil_scoped_release nogil;
    neocog::linear_backward_weight<T>(rows, in, out, pdy, px, pdw);
    return dw;
  });
}

}  // namespace

void bind_gemm(py::module_& m) {
  m.def("linear_forward", &linear_forward, "x"_a, "weight"_a, "bias"_a, "bf16"_a = false);
  m.def("linear_backward_x", &linear_backward_x, "dy"_a, "weight"_a);
  m.def("linear_backward_weight", &linear_backward_weight, "dy"_a, "x"_a);
}

}  // namespace neocog::bindings
