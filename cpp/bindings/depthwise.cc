#include "ops/depthwise/depthwise.h"

#include "bindings/conv_arguments.h"

namespace neocog::bindings {
namespace {

// As conv_forward with one group per channel of x; convolutions of that shape come here from conv.h too.
py::array depthwise_forward(const py::array& x, const py::array& weight, const MaybeArray& bias,
                            const Pair& stride, const Padding& padding, const Pair& dilation, int activation,
                            double alpha, bool channels_last) {
  return with_dtype(x, [&](auto zero) -> py::array {
    using T = decltype(zero);
    const Image<const T> in = image_view<T>(x, channels_last);
    const ConvGeometry g = geometry(in.n, in.c, in.h, in.w, weight, {stride, dilation, padding, in.c});
    const T* w = dense<T>(weight, weight.size());
    py::array_t<T> y = new_image<T>(g.batch, g.out_channels, g.h.out(), g.w.out(), channels_last);
    const Epilogue<T> e =
        epilogue<T>(bias, std::nullopt, activation, alpha, y, g.out_channels, channels_last);
    const Image<T> out = mutable_image<T>(y, channels_last);
    const py::gil_scoped_release nogil;
    neocog::depthwise_forward<T>(g, in, w, e, out);
    return y;
  });
}

}  // namespace

void bind_depthwise(py::module_& m) {
  m.def("depthwise_forward", &depthwise_forward, "x"_a, "weight"_a, "bias"_a, "stride"_a, "padding"_a,
        "dilation"_a, "activation"_a, "alpha"_a, "channels_last"_a);
}

}  // namespace neocog::bindings
