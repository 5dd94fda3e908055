#include "ops/conv_transpose/conv_transpose.h"

#include "bindings/conv_arguments.h"

namespace neocog::bindings {
namespace {

py::object conv_transpose_forward(const ArrayRef& x, const ArrayRef& weight, const MaybeArray& bias,
                                  const Pair& out_size, const Pair& stride, const Padding& padding,
                                  const Pair& dilation, int64_t groups, int activation, double alpha,
                                  bool channels_last) {
  return with_dtype(x, [&](auto zero) -> py::object {
    using T = decltype(zero);
    const Image<const T> in = image_view<T>(x, channels_last);
    const int64_t channels = checked_product({weight_sizes(weight)[1], groups});
    const ConvGeometry g = geometry(in.n, channels, out_size[0], out_size[1], weight_sizes(weight),
                                    {stride, dilation, padding, groups});
    require(g.out_channels == in.c && g.h.out() == in.h && g.w.out() == in.w,
            "sizes of x and y do not agree");
    const WeightView<T> w(weight);
    NewImage<T> y = new_image<T>(x, g.batch, channels, out_size[0], out_size[1], channels_last);
    const Epilogue<T> e = epilogue<T>(bias, std::nullopt, activation, alpha, y.image);
    const Image<T> out = y.image;
    const py::gil_scoped_release nogil;
    neocog::conv_transpose_forward<T>(g, in, w.get(), e, out);
    return std::move(y.object);
  });
}

// (dx, dw, db): those that `mask` wants, or None.
py::tuple conv_transpose_backward(const ArrayRef& dy, const ArrayRef& x, const ArrayRef& weight,
                                  const Pair& stride, const Padding& padding, const Pair& dilation,
                                  int64_t groups, const std::array<bool, 3>& mask, bool channels_last,
                                  bool weight_channels_last) {
  return with_dtype(dy, [&](auto zero) -> py::tuple {
    using T = decltype(zero);
    const Image<const T> in = image_view<T>(x, channels_last), grad = image_view<T>(dy, channels_last);
    const ConvGeometry g =
        geometry(grad.n, grad.c, grad.h, grad.w, weight_sizes(weight), {stride, dilation, padding, groups});
    require(grad.n == in.n && in.c == g.out_channels && g.h.out() == in.h && g.w.out() == in.w,
            "sizes of x and dy do not agree");
    const WeightView<T> w(weight);
    NewGradients<T> made(dy, x, in, grad.c, weight, mask, channels_last, weight_channels_last);
    {
      const py::gil_scoped_release nogil;
      neocog::conv_transpose_backward<T>(g, in, grad, mask[0] ? w.get() : nullptr, made.pointers());
      made.finish();
    }
    return made.tuple();
  });
}

}  // namespace

void bind_conv_transpose(py::module_& m) {
  m.def("conv_transpose_forward", &conv_transpose_forward, "x"_a, "weight"_a, "bias"_a, "out_size"_a,
        "stride"_a, "padding"_a, "dilation"_a, "groups"_a, "activation"_a, "alpha"_a, "channels_last"_a);
  m.def("conv_transpose_backward", &conv_transpose_backward, "dy"_a, "x"_a, "weight"_a, "stride"_a,
        "padding"_a, "dilation"_a, "groups"_a, "mask"_a, "channels_last"_a, "weight_channels_last"_a = false);
}

}  // namespace neocog::bindings
