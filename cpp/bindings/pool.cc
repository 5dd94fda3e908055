// Arrays in, arrays out; no arithmetic and no choices.
#include "ops/pool/pool.h"

#include <string>

#include "bindings/arrays.h"

namespace neocog::bindings {
namespace {

using Divisor = std::optional<int64_t>;

// One axis of a pooling as Python resolved it, before its windows are listed.
struct Axis {
  WindowAxis window;
  int64_t out;
  bool adaptive;
};
using Axes = std::array<Axis, 2>;

Axes sliding(const Pair& in, const Pair& out, const Pair& kernel, const Pair& stride, const Padding& padding,
             const Pair& dilation) {
  Axes axes;
  for (int i = 0; i < 2; ++i) {
    const int64_t lo = padding[2 * i], hi = padding[2 * i + 1];
    require(in[i] > 0 && lo >= 0 && hi >= 0, "images must not be empty, padding not negative");
    const WindowAxis window = window_axis(in[i], kernel[i], stride[i], dilation[i], lo, hi);
    require(0 < out[i] && out[i] - 1 <= (in[i] + lo + hi) / stride[i],
            "windows start outside the padded image");
    axes[i] = {window, out[i], false};
  }
  return axes;
}

Axes adaptive(const Pair& in, const Pair& out) {
  Axes axes;
  for (int i = 0; i < 2; ++i) {
    require(in[i] > 0 && out[i] >= 0, "images must not be empty, sizes not negative");
    axes[i] = {window_axis(in[i], 1, 1, 1, 0, 0), out[i], true};
  }
  return axes;
}

PoolGeometry geometry(const Axes& axes, bool count_padding = false, const Divisor& divisor = std::nullopt) {
  const auto list = [&](const Axis& axis) {
    return axis.adaptive ? adaptive_axis(axis.window.in, axis.out)
                         : sliding_axis(axis.window, axis.out, count_padding);
  };
  PoolGeometry g{list(axes[0]), list(axes[1])};
  if (divisor) {
    g.h.divisor.assign(g.h.divisor.size(), static_cast<double>(*divisor));
    g.w.divisor.assign(g.w.divisor.size(), 1.0);
  }
  return g;
}

template <class T>
Pair spatial(const Image<T>& image) {
  return {image.h, image.w};
}

py::object max_forward(const ArrayRef& x, const Axes& axes, bool return_indices, bool channels_last) {
  return with_dtype(x, [&](auto zero) -> py::object {
    using T = decltype(zero);
    const Image<const T> in = image_view<T>(x, channels_last);
    require(!return_indices || sizeof(T) == 8 || in.h * in.w <= INT32_MAX,
            "`x` has too many pixels for float32 indices; convert it with x.astype(np.float64)");
    NewImage<T> y = new_image<T>(x, in.n, in.c, axes[0].out, axes[1].out, channels_last);
    NewImage<int64_t> index{};
    if (return_indices) index = new_image<int64_t>(x, in.n, in.c, axes[0].out, axes[1].out, channels_last);
    if (y.image.size() > 0) {
      const py::gil_scoped_release nogil;
      neocog::max_pool_forward<T>(geometry(axes), in, y.image, index.image.data);
    }
    if (return_indices) return py::make_tuple(std::move(y.object), std::move(index.object));
    return std::move(y.object);
  });
}

py::object avg_forward(const ArrayRef& x, const Axes& axes, bool count_padding, const Divisor& divisor,
                       bool channels_last) {
  require(!divisor || *divisor != 0, "the divisor must not be 0");
  return with_dtype(x, [&](auto zero) -> py::object {
    using T = decltype(zero);
    const Image<const T> in = image_view<T>(x, channels_last);
    NewImage<T> y = new_image<T>(x, in.n, in.c, axes[0].out, axes[1].out, channels_last);
    if (y.image.size() == 0) return std::move(y.object);
    const Image<T> out = y.image;
    const py::gil_scoped_release nogil;
    neocog::avg_pool_forward<T>(geometry(axes, count_padding, divisor), in, out);
    return std::move(y.object);
  });
}

py::object avg_backward(const ArrayRef& dy, const Axes& axes, bool count_padding, const Divisor& divisor,
                        bool channels_last) {
  require(!divisor || *divisor != 0, "the divisor must not be 0");
  return with_dtype(dy, [&](auto zero) -> py::object {
    using T = decltype(zero);
    const Image<const T> grad = image_view<T>(dy, channels_last);
    require(grad.h == axes[0].out && grad.w == axes[1].out, "sizes of x and dy do not agree");
    NewImage<T> dx = new_image<T>(dy, grad.n, grad.c, axes[0].window.in, axes[1].window.in, channels_last);
    if (dx.image.size() == 0) return std::move(dx.object);
    const Image<T> out = dx.image;
    const py::gil_scoped_release nogil;
    neocog::avg_pool_backward<T>(geometry(axes, count_padding, divisor), grad, out);
    return std::move(dx.object);
  });
}

Pair image_size(const ArrayRef& array) {
  require(array.ndim() == 4, "an image array must have four axes");
  return {array.shape(2), array.shape(3)};
}

py::object max_pool_forward(const ArrayRef& x, const Pair& out, const Pair& kernel, const Pair& stride,
                            const Padding& padding, const Pair& dilation, bool return_indices,
                            bool channels_last) {
  const Axes axes = sliding(image_size(x), out, kernel, stride, padding, dilation);
  return max_forward(x, axes, return_indices, channels_last);
}

py::object adaptive_max_pool_forward(const ArrayRef& x, const Pair& out, bool return_indices,
                                     bool channels_last) {
  return max_forward(x, adaptive(image_size(x), out), return_indices, channels_last);
}

py::object avg_pool_forward(const ArrayRef& x, const Pair& out, const Pair& kernel, const Pair& stride,
                            const Padding& padding, bool count_padding, const Divisor& divisor,
                            bool channels_last) {
  const Axes axes = sliding(image_size(x), out, kernel, stride, padding, {1, 1});
  return avg_forward(x, axes, count_padding, divisor, channels_last);
}

py::object adaptive_avg_pool_forward(const ArrayRef& x, const Pair& out, bool channels_last) {
  return avg_forward(x, adaptive(image_size(x), out), false, std::nullopt, channels_last);
}

py::object avg_pool_backward(const ArrayRef& dy, const Pair& in_size, const Pair& kernel, const Pair& stride,
                             const Padding& padding, bool count_padding, const Divisor& divisor,
                             bool channels_last) {
  const Axes axes = sliding(in_size, image_size(dy), kernel, stride, padding, {1, 1});
  return avg_backward(dy, axes, count_padding, divisor, channels_last);
}

py::object adaptive_avg_pool_backward(const ArrayRef& dy, const Pair& in_size, bool channels_last) {
  return avg_backward(dy, adaptive(in_size, image_size(dy)), false, std::nullopt, channels_last);
}

// f(values, index, result) for a result of `size`, where f says which index is wrong.
template <class F>
py::object by_index(const ArrayRef& values, const ArrayRef& indices, const Pair& size, const Pair& plane,
                    bool channels_last, const F& f) {
  require(indices.ndim() == 4, "an image array must have four axes");
  return with_dtype(values, [&](auto zero) -> py::object {
    using T = decltype(zero);
    const Image<const T> in = image_view<T>(values, channels_last);
    const Image<const int64_t> index = image_view<int64_t>(indices, channels_last);
    require(index.n == in.n && index.c == in.c, "batches or channels of the arrays differ");
    NewImage<T> result = new_image<T>(values, in.n, in.c, size[0], size[1], channels_last);
    const Image<T> out = result.image;
    int64_t wrong;
    {
      const py::gil_scoped_release nogil;
      wrong = f(in, index, out);
    }
    if (wrong >= 0) {
      throw py::value_error("`indices` holds " + std::to_string(index.data[wrong]) + ", but a plane of " +
                            std::to_string(plane[0]) + " x " + std::to_string(plane[1]) +
                            " pixels has the indices 0 to " + std::to_string(plane[0] * plane[1] - 1) +
                            "; take them from max pooling of an image of this size.");
    }
    return std::move(result.object);
  });
}

py::object max_pool_backward(const ArrayRef& dy, const ArrayRef& indices, const Pair& in_size,
                             bool channels_last) {
  checked_product({in_size[0], in_size[1]});
  return by_index(dy, indices, in_size, in_size, channels_last,
                  [](const auto& grad, const auto& index, const auto& dx) {
                    require(grad.h == index.h && grad.w == index.w, "sizes of dy and indices differ");
                    return neocog::max_pool_backward(grad, index.data, dx);
                  });
}

py::object max_unpool_forward(const ArrayRef& x, const ArrayRef& indices, const Pair& out,
                              bool channels_last) {
  checked_product({out[0], out[1]});
  return by_index(x, indices, out, out, channels_last, [](const auto& in, const auto& index, const auto& y) {
    require(in.h == index.h && in.w == index.w, "sizes of x and indices differ");
    return neocog::max_unpool_forward(in, index.data, y);
  });
}

py::object max_unpool_backward(const ArrayRef& dy, const ArrayRef& indices, bool channels_last) {
  const Pair size = image_size(indices), plane = image_size(dy);
  return by_index(dy, indices, size, plane, channels_last,
                  [](const auto& grad, const auto& index, const auto& dx) {
                    return neocog::max_unpool_backward(grad, index.data, dx);
                  });
}

}  // namespace

void bind_pool(py::module_& m) {
  m.def("max_pool_forward", &max_pool_forward, "x"_a, "out"_a, "kernel"_a, "stride"_a, "padding"_a,
        "dilation"_a, "return_indices"_a, "channels_last"_a);
  m.def("adaptive_max_pool_forward", &adaptive_max_pool_forward, "x"_a, "out"_a, "return_indices"_a,
        "channels_last"_a);
  m.def("max_pool_backward", &max_pool_backward, "dy"_a, "indices"_a, "in_size"_a, "channels_last"_a);
  m.def("avg_pool_forward", &avg_pool_forward, "x"_a, "out"_a, "kernel"_a, "stride"_a, "padding"_a,
        "count_padding"_a, "divisor"_a, "channels_last"_a);
  m.def("avg_pool_backward", &avg_pool_backward, "dy"_a, "in_size"_a, "kernel"_a, "stride"_a, "padding"_a,
        "count_padding"_a, "divisor"_a, "channels_last"_a);
  m.def("adaptive_avg_pool_forward", &adaptive_avg_pool_forward, "x"_a, "out"_a, "channels_last"_a);
  m.def("adaptive_avg_pool_backward", &adaptive_avg_pool_backward, "dy"_a, "in_size"_a, "channels_last"_a);
  m.def("max_unpool_forward", &max_unpool_forward, "x"_a, "indices"_a, "out"_a, "channels_last"_a);
  m.def("max_unpool_backward", &max_unpool_backward, "dy"_a, "indices"_a, "channels_last"_a);
}

}  // namespace neocog::bindings
