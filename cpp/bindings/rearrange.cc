// Arrays in, arrays out; no arithmetic and no choices.
#include "ops/rearrange/rearrange.h"

#include <vector>

#include "bindings/arrays.h"

namespace neocog::bindings {
namespace {

using Sizes = std::vector<int64_t>;
using Arrays = std::vector<py::array>;

// Sizes and steps beyond any array; arithmetic on them cannot overflow.
constexpr int64_t kMost = int64_t{1} << 40;

// A new array whose axes lie in memory in this order, outermost first.
template <class T>
py::array_t<T> new_ordered(const Sizes& shape, const Sizes& order) {
  require(order.size() == shape.size(), "`order` must name every axis once");
  std::vector<py::ssize_t> strides(shape.size(), 0);
  int64_t size = 1, stride = 1;
  for (const int64_t s : shape) size = checked_product({size, s});
  for (size_t i = order.size(); i-- > 0;) {
    require(0 <= order[i] && order[i] < static_cast<int64_t>(shape.size()),
            "`order` must name every axis once");
    const size_t axis = static_cast<size_t>(order[i]);
    require(strides[axis] == 0, "`order` must name every axis once");
    strides[axis] = stride;
    stride *= std::max<int64_t>(1, shape[axis]);
  }
  return new_array<T>(std::vector<py::ssize_t>(shape.begin(), shape.end()), strides, size);
}

template <class T>
ArrayView<const T> view(const py::array& array) {
  require(py::isinstance<py::array_t<T>>(array), "arrays must share one dtype, float32 or float64");
  ArrayView<const T> result{static_cast<const T*>(array.data()), {}, {}};
  for (int axis = 0; axis < array.ndim(); ++axis) {
    require(array.strides(axis) % static_cast<int64_t>(sizeof(T)) == 0, "an array must be aligned");
    result.size.push_back(array.shape(axis));
    result.stride.push_back(array.strides(axis) / static_cast<int64_t>(sizeof(T)));
  }
  require(result.size.size() + 2 <= kMaxCopyAxes, "an array has too many axes");
  return result;
}

template <class T>
ArrayView<T> mutable_view(py::array_t<T>& array) {
  ArrayView<const T> constant = view<T>(array);
  return {array.mutable_data(), std::move(constant.size), std::move(constant.stride)};
}

std::vector<PadAxis> pad_axes(const Sizes& in, const Sizes& lo, const Sizes& hi, PadMode mode) {
  require(lo.size() == in.size() && hi.size() == in.size(), "`padding` must have two amounts for every axis");
  std::vector<PadAxis> axes;
  for (size_t d = 0; d < in.size(); ++d) {
    require(in[d] < kMost && -kMost < lo[d] && lo[d] < kMost && -kMost < hi[d] && hi[d] < kMost,
            "`padding` is out of range");
    axes.push_back({in[d], lo[d], hi[d]});
    require(axes.back().valid(mode), "`padding` does not fit the array in this mode");
  }
  return axes;
}

PadMode pad_mode(int mode) {
  require(0 <= mode && mode <= static_cast<int>(PadMode::kCircular), "unknown padding mode");
  return static_cast<PadMode>(mode);
}

py::array pad_forward(const py::array& x, const Sizes& lo, const Sizes& hi, int mode, double value) {
  return with_dtype(x, [&](auto zero) -> py::array {
    using T = decltype(zero);
    const T* const in = dense<T>(x, x.size());
    const std::vector<PadAxis> axes =
        pad_axes(Sizes(x.shape(), x.shape() + x.ndim()), lo, hi, pad_mode(mode));
    Sizes shape;
    for (const PadAxis& axis : axes) shape.push_back(axis.out());
    py::array_t<T> y = new_dense<T>(shape);
    T* const out = y.mutable_data();
    const py::gil_scoped_release nogil;
    neocog::pad_forward<T>(axes, pad_mode(mode), static_cast<T>(value), in, out);
    return y;
  });
}

py::array pad_backward(const py::array& dy, const Sizes& in_shape, const Sizes& lo, const Sizes& hi,
                       int mode) {
  return with_dtype(dy, [&](auto zero) -> py::array {
    using T = decltype(zero);
    const T* const grad = dense<T>(dy, dy.size());
    const std::vector<PadAxis> axes = pad_axes(in_shape, lo, hi, pad_mode(mode));
    require(dy.ndim() == static_cast<int>(axes.size()), "`grad_y` must have the axes of y");
    for (size_t d = 0; d < axes.size(); ++d) {
      require(dy.shape(static_cast<int>(d)) == axes[d].out(), "`grad_y` must have the shape of y");
    }
    py::array_t<T> dx = new_dense<T>(in_shape);
    T* const out = dx.mutable_data();
    const py::gil_scoped_release nogil;
    neocog::pad_backward<T>(axes, pad_mode(mode), grad, out);
    return dx;
  });
}

size_t axis_index(const py::array& array, int64_t axis) {
  require(0 <= axis && axis < array.ndim(), "`axis` is out of range");
  return static_cast<size_t>(axis);
}

py::array concat_forward(const Arrays& arrays, int64_t axis, const Sizes& order) {
  require(!arrays.empty(), "`arrays` is empty");
  return with_dtype(arrays[0], [&](auto zero) -> py::array {
    using T = decltype(zero);
    const size_t along = axis_index(arrays[0], axis);
    std::vector<ArrayView<const T>> parts;
    for (const py::array& array : arrays) parts.push_back(view<T>(array));
    Sizes shape = parts[0].size;
    shape[along] = 0;
    for (const ArrayView<const T>& part : parts) {
      require(part.size.size() == shape.size(), "`arrays` must share one rank");
      for (size_t d = 0; d < shape.size(); ++d) {
        require(d == along || part.size[d] == shape[d],
                "`arrays` must agree in all sizes but that of `axis`");
      }
      require(!__builtin_add_overflow(shape[along], part.size[along], &shape[along]),
              "the size of an array overflows");
    }
    py::array_t<T> y = new_ordered<T>(shape, order);
    const ArrayView<T> out = mutable_view<T>(y);
    const py::gil_scoped_release nogil;
    neocog::concat_forward<T>(parts, axis, out);
    return y;
  });
}

py::list concat_backward(const py::array& dy, const Sizes& sizes, int64_t axis, const Sizes& order) {
  return with_dtype(dy, [&](auto zero) -> py::list {
    using T = decltype(zero);
    const size_t along = axis_index(dy, axis);
    const ArrayView<const T> grad = view<T>(dy);
    std::vector<py::array_t<T>> parts;
    Sizes shape = grad.size;
    int64_t left = grad.size[along];
    for (const int64_t size : sizes) {
      require(0 <= size && size <= left, "`sizes` must add up to the size of `grad_y`");
      left -= size;
      shape[along] = size;
      parts.push_back(new_ordered<T>(shape, order));
    }
    require(left == 0, "`sizes` must add up to the size of `grad_y`");
    std::vector<ArrayView<T>> out;
    for (py::array_t<T>& part : parts) out.push_back(mutable_view<T>(part));
    {
      const py::gil_scoped_release nogil;
      neocog::concat_backward<T>(grad, axis, out);
    }
    py::list result;
    for (py::array_t<T>& part : parts) result.append(std::move(part));
    return result;
  });
}

py::array pixel_shuffle(const py::array& x, int64_t r, const Sizes& order) {
  return with_dtype(x, [&](auto zero) -> py::array {
    using T = decltype(zero);
    const ArrayView<const T> in = view<T>(x);
    require(in.size.size() >= 3 && 0 < r && r < (int64_t{1} << 31), "need three axes and a positive factor");
    Sizes shape = in.size;
    const size_t c = shape.size() - 3;
    require(shape[c] % (r * r) == 0, "the factor's square must divide the channels");
    shape[c] /= r * r;
    shape[c + 1] = checked_product({shape[c + 1], r});
    shape[c + 2] = checked_product({shape[c + 2], r});
    py::array_t<T> y = new_ordered<T>(shape, order);
    const ArrayView<T> out = mutable_view<T>(y);
    const py::gil_scoped_release nogil;
    neocog::pixel_shuffle<T>(in, r, out);
    return y;
  });
}

py::array pixel_unshuffle(const py::array& x, int64_t r, const Sizes& order) {
  return with_dtype(x, [&](auto zero) -> py::array {
    using T = decltype(zero);
    const ArrayView<const T> in = view<T>(x);
    require(in.size.size() >= 3 && 0 < r && r < (int64_t{1} << 31), "need three axes and a positive factor");
    Sizes shape = in.size;
    const size_t c = shape.size() - 3;
    require(shape[c + 1] % r == 0 && shape[c + 2] % r == 0, "the factor must divide height and width");
    shape[c] = checked_product({shape[c], r, r});
    shape[c + 1] /= r;
    shape[c + 2] /= r;
    py::array_t<T> y = new_ordered<T>(shape, order);
    const ArrayView<T> out = mutable_view<T>(y);
    const py::gil_scoped_release nogil;
    neocog::pixel_unshuffle<T>(in, r, out);
    return y;
  });
}

}  // namespace

void bind_rearrange(py::module_& m) {
  m.def("pad_forward", &pad_forward, "x"_a, "lo"_a, "hi"_a, "mode"_a, "value"_a);
  m.def("pad_backward", &pad_backward, "dy"_a, "in_shape"_a, "lo"_a, "hi"_a, "mode"_a);
  m.def("concat_forward", &concat_forward, "arrays"_a, "axis"_a, "order"_a);
  m.def("concat_backward", &concat_backward, "dy"_a, "sizes"_a, "axis"_a, "order"_a);
  m.def("pixel_shuffle", &pixel_shuffle, "x"_a, "r"_a, "order"_a);
  m.def("pixel_unshuffle", &pixel_unshuffle, "x"_a, "r"_a, "order"_a);
}

}  // namespace neocog::bindings
