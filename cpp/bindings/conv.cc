// Arrays in, arrays out; no arithmetic and no choices.
#include "ops/conv/conv.h"

#include "bindings/conv_arguments.h"

namespace neocog::bindings {
namespace {

py::array conv_forward(const py::array& x, const py::array& weight, const MaybeArray& bias,
                       const MaybeArray& residual, const Pair& stride, const Padding& padding,
                       const Pair& dilation, int64_t groups, int activation, double alpha,
                       bool channels_last) {
  return with_dtype(x, [&](auto zero) -> py::array {
    using T = decltype(zero);
    const Image<const T> in = image_view<T>(x, channels_last);
    const ConvGeometry g = geometry(in.n, in.c, in.h, in.w, weight, {stride, dilation, padding, groups});
    const T* w = dense<T>(weight, weight.size());
    py::array_t<T> y = new_image<T>(g.batch, g.out_channels, g.h.out(), g.w.out(), channels_last);
    const Epilogue<T> e = epilogue<T>(bias, residual, activation, alpha, y, g.out_channels, channels_last);
    const Image<T> out = mutable_image<T>(y, channels_last);
    const py::gil_scoped_release nogil;
    neocog::conv_forward<T>(g, in, w, e, out);
    return y;
  });
}

// The method that conv_forward takes for images of this size (channels, height, width), for people to read.
std::string conv_kernel(const std::array<int64_t, 3>& image, const py::array& weight, const Pair& stride,
                        const Padding& padding, const Pair& dilation, int64_t groups) {
  return with_dtype(weight, [&](auto zero) -> std::string {
    switch (neocog::conv_kernel<decltype(zero)>(
        geometry(1, image[0], image[1], image[2], weight, {stride, dilation, padding, groups}))) {
      case ConvKernel::kDepthwise: return "depthwise";
      case ConvKernel::kPixelVectors: return "direct, vectors of pixels";
      default: return "direct, vectors of channels";
    }
  });
}

py::array conv_backward_x(const py::array& dy, const py::array& weight, const Pair& in_size,
                          const Pair& stride, const Padding& padding, const Pair& dilation, int64_t groups,
                          bool channels_last) {
  return with_dtype(dy, [&](auto zero) -> py::array {
    using T = decltype(zero);
    const Image<const T> grad = image_view<T>(dy, channels_last);
    require(weight.ndim() == 4, "`weight` must have four axes");
    const int64_t channels = checked_product({weight.shape(1), groups});
    const ConvGeometry g =
        geometry(grad.n, channels, in_size[0], in_size[1], weight, {stride, dilation, padding, groups});
    require(g.out_channels == grad.c && g.h.out() == grad.h && g.w.out() == grad.w,
            "sizes of x and dy do not agree");
    const T* w = dense<T>(weight, weight.size());
    py::array_t<T> dx = new_image<T>(g.batch, channels, in_size[0], in_size[1], channels_last);
    const Image<T> out = mutable_image<T>(dx, channels_last);
    const py::gil_scoped_release nogil;
    neocog::conv_backward_x<T>(g, grad, w, out);
    return dx;
  });
}

py::array conv_backward_weight(const py::array& x, const py::array& dy, const Pair& kernel,
                               const Pair& stride, const Padding& padding, const Pair& dilation,
                               int64_t groups, bool channels_last) {
  return with_dtype(x, [&](auto zero) -> py::array {
    using T = decltype(zero);
    const Image<const T> in = image_view<T>(x, channels_last), grad = image_view<T>(dy, channels_last);
    require(groups > 0 && in.c % groups == 0, "channels and `groups` do not agree");
    py::array_t<T> dw = new_dense<T>({grad.c, in.c / groups, kernel[0], kernel[1]});
    const ConvGeometry g = geometry(in.n, in.c, in.h, in.w, dw, {stride, dilation, padding, groups});
    require(grad.n == in.n && g.h.out() == grad.h && g.w.out() == grad.w, "sizes of x and dy do not agree");
    T* const out = dw.mutable_data();
    const py::gil_scoped_release nogil;
    neocog::conv_backward_weight<T>(g, in, grad, out);
    return dw;
  });
}

py::array conv_backward_bias(const py::array& dy, bool channels_last) {
  return with_dtype(dy, [&](auto zero) -> py::array {
    using T = decltype(zero);
    const Image<const T> grad = image_view<T>(dy, channels_last);
    py::array_t<T> db = new_dense<T>({grad.c});
    T* const out = db.mutable_data();
    const py::gil_scoped_release nogil;
    neocog::conv_backward_bias<T>(grad, out);
    return db;
  });
}

}  // namespace

void bind_conv(py::module_& m) {
  m.def("conv_forward", &conv_forward, "x"_a, "weight"_a, "bias"_a, "residual"_a, "stride"_a, "padding"_a,
        "dilation"_a, "groups"_a, "activation"_a, "alpha"_a, "channels_last"_a);
  m.def("conv_kernel", &conv_kernel, "image"_a, "weight"_a, "stride"_a, "padding"_a, "dilation"_a,
        "groups"_a);
  m.def("conv_backward_x", &conv_backward_x, "dy"_a, "weight"_a, "in_size"_a, "stride"_a, "padding"_a,
        "dilation"_a, "groups"_a, "channels_last"_a);
  m.def("conv_backward_weight", &conv_backward_weight, "x"_a, "dy"_a, "kernel"_a, "stride"_a, "padding"_a,
        "dilation"_a, "groups"_a, "channels_last"_a);
  m.def("conv_backward_bias", &conv_backward_bias, "dy"_a, "channels_last"_a);
}

}  // namespace neocog::bindings
