#include "ops/separable/separable.h"

#include "bindings/conv_arguments.h"

namespace neocog::bindings {
namespace {

py::object separable_forward(const ArrayRef& x, const ArrayRef& depthwise_weight,
                             const ArrayRef& pointwise_weight, const MaybeArray& bias, const Pair& stride,
                             const Padding& padding, const Pair& dilation, int activation, double alpha,
                             bool channels_last) {
  return with_dtype(x, [&](auto zero) -> py::object {
    using T = decltype(zero);
    const Image<const T> in = image_view<T>(x, channels_last);
    const ConvGeometry g =
        geometry(in.n, in.c, in.h, in.w, weight_sizes(depthwise_weight), {stride, dilation, padding, in.c});
    const T* depthwise = dense<T>(depthwise_weight, depthwise_weight.size());
    require(pointwise_weight.ndim() == 4, "`pointwise_weight` must have four axes");
    const int64_t channels = pointwise_weight.shape(0);
    const T* pointwise = dense<T>(pointwise_weight, checked_product({channels, g.out_channels}));
    NewImage<T> y = new_image<T>(x, g.batch, channels, g.h.out(), g.w.out(), channels_last);
    const Epilogue<T> e = epilogue<T>(bias, std::nullopt, activation, alpha, y.image);
    const Image<T> out = y.image;
    const py::gil_scoped_release nogil;
    neocog::separable_forward<T>(g, in, depthwise, pointwise, e, out);
    return std::move(y.object);
  });
}

}  // namespace

void bind_separable(py::module_& m) {
  m.def("separable_forward", &separable_forward, "x"_a, "depthwise_weight"_a, "pointwise_weight"_a, "bias"_a,
        "stride"_a, "padding"_a, "dilation"_a, "activation"_a, "alpha"_a, "channels_last"_a);
}

}  // namespace neocog::bindings
