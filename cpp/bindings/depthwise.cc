#include "ops/depthwise/depthwise.h"

#include "bindings/conv_arguments.h"

namespace neocog::bindings {
namespace {

// As conv_forward with one group per channel of x; convolutions of that shape come here from conv.h too.
py::object depthwise_forward(const ArrayRef& x, const ArrayRef& weight, const MaybeArray& bias,
                             const Pair& stride, const Padding& padding, const Pair& dilation, int activation,
                             double alpha, bool channels_last) {
  return with_dtype(x, [&](auto zero) -> py::object {
    using T = decltype(zero);
    const Image<const T> in = image_view<T>(x, channels_last);
    const ConvGeometry g =
        geometry(in.n, in.c, in.h, in.w, weight_sizes(weight), {stride, dilation, padding, in.c});
    const T* w = dense<T>(weight, weight.size());
    NewImage<T> y = new_image<T>(x, g.batch, g.out_channels, g.h.out(), g.w.out(), channels_last);
    const Epilogue<T> e = epilogue<T>(bias, std::nullopt, activation, alpha, y.image);
    const Image<T> out = y.image;
    const py::gil_scoped_release nogil;
    neocog::depthwise_forward<T>(g, in, w, e, out);
    return std::move(y.object);
  });
}

}  // namespace

void bind_depthwise(py::module_& m) {
  m.def("depthwise_forward", &depthwise_forward, "x"_a, "weight"_a, "bias"_a, "stride"_a, "padding"_a,
        "dilation"_a, "activation"_a, "alpha"_a, "channels_last"_a);
}

}  // namespace neocog::bindings
