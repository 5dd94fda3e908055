#include "ops/conv_transpose/conv_transpose.h"

#include "bindings/conv_arguments.h"

namespace neocog::bindings {
namespace {

py::array conv_transpose_forward(const py::array& x, const py::array& weight, const MaybeArray& bias,
                                 const Pair& out_size, const Pair& stride, const Padding& padding,
                                 const Pair& dilation, int64_t groups, int activation, double alpha,
                                 bool channels_last) {
  return with_dtype(x, [&](auto zero) -> py::array {
    using T = decltype(zero);
    const Image<const T> in = image_view<T>(x, channels_last);
    require(weight.ndim() == 4, "`weight` must have four axes");
    const int64_t channels = checked_product({weight.shape(1), groups});
    const ConvGeometry g =
        geometry(in.n, channels, out_size[0], out_size[1], weight, {stride, dilation, padding, groups});
    require(g.out_channels == in.c && g.h.out() == in.h && g.w.out() == in.w,
            "sizes of x and y do not agree");
    const T* w = dense<T>(weight, weight.size());
    py::array_t<T> y = new_image<T>(g.batch, channels, out_size[0], out_size[1], channels_last);
    const Epilogue<T> e = epilogue<T>(bias, std::nullopt, activation, alpha, y, channels, channels_last);
    const Image<T> out = mutable_image<T>(y, channels_last);
    const py::gil_scoped_release nogil;
    neocog::conv_transpose_forward<T>(g, in, w, e, out);
    return y;
  });
}

}  // namespace

void bind_conv_transpose(py::module_& m) {
  m.def("conv_transpose_forward", &conv_transpose_forward, "x"_a, "weight"_a, "bias"_a, "out_size"_a,
        "stride"_a, "padding"_a, "dilation"_a, "groups"_a, "activation"_a, "alpha"_a, "channels_last"_a);
}

}  // namespace neocog::bindings
