// Arrays in, arrays out; no arithmetic and no choices. Every array is row-major: Python turns the axes of
// others.
#include "ops/elementwise/elementwise.h"

#include "bindings/arrays.h"
#include "ops/elementwise/broadcast.h"
#include "ops/elementwise/prelu.h"
#include "ops/elementwise/softmax.h"

namespace neocog::bindings {
namespace {

std::vector<int64_t> shape_of(const py::array& array) {
  return {array.shape(), array.shape() + array.ndim()};
}

Activation activation_of(int code) {
  require(0 <= code && code <= static_cast<int>(Activation::kHardswish), "unknown activation");
  return static_cast<Activation>(code);
}

void require_same_shape(const py::array& a, const py::array& b) {
  require(a.ndim() == b.ndim() && std::equal(a.shape(), a.shape() + a.ndim(), b.shape()),
          "arrays must have the same shape");
}

// Sizes before, of and after an axis.
struct Split {
  int64_t outer = 1, size = 1, inner = 1;
};

Split split(const py::array& array, int64_t axis) {
  require(0 <= axis && axis < array.ndim(), "`axis` is out of range");
  Split s;
  for (int64_t i = 0; i < array.ndim(); ++i) {
    int64_t& part = i < axis ? s.outer : i == axis ? s.size : s.inner;
    part = checked_product({part, array.shape(i)});
  }
  return s;
}

py::array forward(const py::array& x, int activation, double alpha) {
  const Activation f = activation_of(activation);
  return with_dtype(x, [&](auto zero) -> py::array {
    using T = decltype(zero);
    const int64_t size = x.size();
    const T* const in = dense<T>(x, size);
    py::array_t<T> y = new_dense<T>(shape_of(x));
    T* const out = y.mutable_data();
    const py::gil_scoped_release nogil;
    neocog::elementwise_forward<T>(f, static_cast<T>(alpha), in, out, size);
    return y;
  });
}

// Row-major, or both channels-last: then a value has the same place in each.
py::object backward(const ArrayRef& dy, const ArrayRef& x, int activation, double alpha) {
  const Activation f = activation_of(activation);
  require(dy.ndim() == x.ndim() && std::equal(dy.shape(), dy.shape() + dy.ndim(), x.shape()),
          "arrays must have the same shape");
  const auto last = [](const ArrayRef& array) { return memory_layout(array) == MemoryLayout::kLast; };
  require((x.c_contiguous() && dy.c_contiguous()) || (last(x) && last(dy)),
          "arrays must be dense in the same layout");
  return with_dtype(x, [&](auto zero) -> py::object {
    using T = decltype(zero);
    require(dy.dtype() == x.dtype(), "arrays must share one dtype, float32 or float64");
    std::vector<py::ssize_t> strides(static_cast<size_t>(x.ndim()));
    for (int64_t axis = 0; axis < x.ndim(); ++axis) {
      strides[static_cast<size_t>(axis)] = x.strides(axis) / static_cast<int64_t>(sizeof(T));
    }
    NewArray<T> dx = new_array_like<T>(x, {x.shape(), x.shape() + x.ndim()}, strides);
    const py::gil_scoped_release nogil;
    neocog::elementwise_backward<T>(f, static_cast<T>(alpha), static_cast<const T*>(dy.data()),
                                    static_cast<const T*>(x.data()), dx.data, x.size());
    return std::move(dx.object);
  });
}

py::array add_forward(const py::array& a, const py::array& b, int activation, double alpha) {
  const Activation f = activation_of(activation);
  require(a.ndim() == b.ndim(), "arrays must have the same rank");
  const std::vector<int64_t> a_shape = shape_of(a), b_shape = shape_of(b);
  std::vector<int64_t> shape = a_shape;
  for (size_t i = 0; i < shape.size(); ++i) {
    require(a_shape[i] == b_shape[i] || a_shape[i] == 1 || b_shape[i] == 1, "shapes do not broadcast");
    if (shape[i] == 1) shape[i] = b_shape[i];
  }
  return with_dtype(a, [&](auto zero) -> py::array {
    using T = decltype(zero);
    const T *const p = dense<T>(a, a.size()), *const q = dense<T>(b, b.size());
    py::array_t<T> y = new_dense<T>(shape);
    T* const out = y.mutable_data();
    const py::gil_scoped_release nogil;
    neocog::broadcast_add<T>(f, static_cast<T>(alpha), a_shape, b_shape, p, q, out);
    return y;
  });
}

py::array add_backward(const py::array& dy, const std::vector<int64_t>& shape) {
  const std::vector<int64_t> from = shape_of(dy);
  require(shape.size() == from.size(), "arrays must have the same rank");
  for (size_t i = 0; i < shape.size(); ++i) {
    require(shape[i] == from[i] || shape[i] == 1, "shapes do not broadcast");
  }
  return with_dtype(dy, [&](auto zero) -> py::array {
    using T = decltype(zero);
    const T* const grad = dense<T>(dy, dy.size());
    py::array_t<T> sum = new_dense<T>(shape);
    T* const out = sum.mutable_data();
    const py::gil_scoped_release nogil;
    neocog::broadcast_sum<T>(from, shape, grad, out);
    return sum;
  });
}

// One slope for all, or one for every index of `axis`.
PreluGeometry prelu_geometry(const py::array& x, const py::array& weight, int64_t axis) {
  if (weight.size() == 1) return {1, 1, x.size()};
  const Split s = split(x, axis);
  require(weight.size() == s.size, "`weight` needs one value, or one per channel");
  return {s.outer, s.size, s.inner};
}

py::array prelu_forward(const py::array& x, const py::array& weight, int64_t axis) {
  const PreluGeometry g = prelu_geometry(x, weight, axis);
  return with_dtype(x, [&](auto zero) -> py::array {
    using T = decltype(zero);
    const T *const in = dense<T>(x, x.size()), *const slopes = dense<T>(weight, g.channels);
    py::array_t<T> y = new_dense<T>(shape_of(x));
    T* const out = y.mutable_data();
    const py::gil_scoped_release nogil;
    neocog::prelu_forward<T>(g, in, slopes, out);
    return y;
  });
}

py::tuple prelu_backward(const py::array& dy, const py::array& x, const py::array& weight, int64_t axis,
                         bool want_x, bool want_weight) {
  require_same_shape(dy, x);
  const PreluGeometry g = prelu_geometry(x, weight, axis);
  return with_dtype(x, [&](auto zero) -> py::tuple {
    using T = decltype(zero);
    const T *const grad = dense<T>(dy, x.size()), *const in = dense<T>(x, x.size());
    const T* const slopes = dense<T>(weight, g.channels);
    std::optional<py::array_t<T>> dx, dweight;
    if (want_x) dx = new_dense<T>(shape_of(x));
    if (want_weight) dweight = new_dense<T>(shape_of(weight));
    T* const out_x = want_x ? dx->mutable_data() : nullptr;
    T* const out_weight = want_weight ? dweight->mutable_data() : nullptr;
    {
      const py::gil_scoped_release nogil;
      neocog::prelu_backward<T>(g, grad, in, slopes, out_x, out_weight);
    }
    return py::make_tuple(dx, dweight);
  });
}

py::array softmax_forward(const py::array& x, int64_t axis) {
  const Split s = split(x, axis);
  return with_dtype(x, [&](auto zero) -> py::array {
    using T = decltype(zero);
    const T* const in = dense<T>(x, x.size());
    py::array_t<T> y = new_dense<T>(shape_of(x));
    T* const out = y.mutable_data();
    const py::gil_scoped_release nogil;
    neocog::softmax_forward<T>({s.outer, s.size, s.inner}, in, out);
    return y;
  });
}

py::array softmax_backward(const py::array& dy, const py::array& y, int64_t axis) {
  require_same_shape(dy, y);
  const Split s = split(y, axis);
  return with_dtype(y, [&](auto zero) -> py::array {
    using T = decltype(zero);
    const T *const grad = dense<T>(dy, y.size()), *const result = dense<T>(y, y.size());
    py::array_t<T> dx = new_dense<T>(shape_of(y));
    T* const out = dx.mutable_data();
    const py::gil_scoped_release nogil;
    neocog::softmax_backward<T>({s.outer, s.size, s.inner}, grad, result, out);
    return dx;
  });
}

}  // namespace

void bind_elementwise(py::module_& m) {
  m.def("elementwise_forward", &forward, "x"_a, "activation"_a, "alpha"_a);
  m.def("elementwise_backward", &backward, "dy"_a, "x"_a, "activation"_a, "alpha"_a);
  m.def("add_forward", &add_forward, "a"_a, "b"_a, "activation"_a, "alpha"_a);
  m.def("add_backward", &add_backward, "dy"_a, "shape"_a);
  m.def("prelu_forward", &prelu_forward, "x"_a, "weight"_a, "axis"_a);
  m.def("prelu_backward", &prelu_backward, "dy"_a, "x"_a, "weight"_a, "axis"_a, "want_x"_a, "want_weight"_a);
  m.def("softmax_forward", &softmax_forward, "x"_a, "axis"_a);
  m.def("softmax_backward", &softmax_backward, "dy"_a, "y"_a, "axis"_a);
}

}  // namespace neocog::bindings
