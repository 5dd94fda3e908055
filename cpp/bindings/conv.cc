// Arrays in, arrays out; no arithmetic and no choices.
#include "ops/conv/conv.h"

#include "bindings/conv_arguments.h"
#include "ops/conv/bf16_conv.h"
#include "ops/conv/conv_batch_norm.h"
#include "ops/conv/space_to_depth.h"
#include "ops/conv/winograd.h"
#include "ops/conv/winograd_cost.h"
#include "ops/conv/winograd_kernels.h"

namespace neocog::bindings {
namespace {

py::object conv_forward(const ArrayRef& x, const ArrayRef& weight, const MaybeArray& bias,
                        const MaybeArray& residual, const Pair& stride, const Padding& padding,
                        const Pair& dilation, int64_t groups, int activation, double alpha,
                        const MaybeLast& channels_last_or_none, bool direct, bool bf16) {
  return with_dtype(x, [&](auto zero) -> py::object {
    using T = decltype(zero);
    const bool channels_last = channels_last_of(channels_last_or_none, x, weight);
    const Image<const T> in = image_view<T>(x, channels_last);
    const ConvGeometry g =
        geometry(in.n, in.c, in.h, in.w, weight_sizes(weight), {stride, dilation, padding, groups});
    require(g.h.out() > 0 && g.w.out() > 0, "the kernel exceeds the padded image");
    const WeightView<T> w(weight);
    NewImage<T> y = new_image<T>(x, g.batch, g.out_channels, g.h.out(), g.w.out(), channels_last);
    const Epilogue<T> e = epilogue<T>(bias, residual, activation, alpha, y.image);
    const Image<T> out = y.image;
    require(!bf16 || std::is_same_v<T, float>, "bf16 takes float32 arrays");
    const py::gil_scoped_release nogil;
    if constexpr (std::is_same_v<T, float>) {
      if (bf16) {
        bf16_conv(g, in, w.get(), e, out);
        return std::move(y.object);
      }
    }
    neocog::conv_forward<T>(g, in, w.get(), e, out, direct ? ConvMethod::kDirect : ConvMethod::kAuto);
    return std::move(y.object);
  });
}

// (y, what the convolution gives, mean, biased variance).
py::tuple conv_batch_norm_training(const ArrayRef& x, const ArrayRef& weight, const MaybeArray& bias,
                                   const MaybeArray& bn_weight, const MaybeArray& bn_bias, const Pair& stride,
                                   const Padding& padding, const Pair& dilation, int64_t groups, double eps,
                                   int activation, double alpha, const MaybeLast& channels_last_or_none) {
  return with_dtype(x, [&](auto zero) -> py::tuple {
    using T = decltype(zero);
    const bool channels_last = channels_last_of(channels_last_or_none, x, weight);
    const Image<const T> in = image_view<T>(x, channels_last);
    const ConvGeometry g =
        geometry(in.n, in.c, in.h, in.w, weight_sizes(weight), {stride, dilation, padding, groups});
    require(g.h.out() > 0 && g.w.out() > 0, "the kernel exceeds the padded image");
    const WeightView<T> w(weight);
    const T *const scale = dense_or_null<T>(bn_weight, g.out_channels), *const shift = dense_or_null<T>(
                                                                            bn_bias, g.out_channels);
    NewImage<T> middle = new_image<T>(x, g.batch, g.out_channels, g.h.out(), g.w.out(), channels_last);
    NewImage<T> y = new_image<T>(x, g.batch, g.out_channels, g.h.out(), g.w.out(), channels_last);
    NewArray<T> mean = new_dense_like<T>(x, {g.out_channels}), var = new_dense_like<T>(x, {g.out_channels});
    const Epilogue<T> e = epilogue<T>(bias, std::nullopt, activation, alpha, middle.image);
    {
      const py::gil_scoped_release nogil;
      neocog::conv_batch_norm_training<T>(g, in, w.get(), e.bias, scale, shift, eps, e.activation, e.alpha,
                                          middle.image, y.image.data, mean.data, var.data);
    }
    return py::make_tuple(std::move(y.object), std::move(middle.object), std::move(mean.object),
                          std::move(var.object));
  });
}

// F(outputs of a tile, taps), with both axes where both have taps; those of a phase where there are several.
std::string winograd_name(const ConvGeometry& g) {
  const int64_t phases = winograd_phases(g.h) * winograd_phases(g.w);
  const int64_t taps_h = winograd_taps(g.h), taps_w = winograd_taps(g.w);
  const auto sizes = [](int64_t h, int64_t w, bool two) {
    return two ? std::to_string(h) + "x" + std::to_string(w) : std::to_string(h * w);
  };
  const bool two = taps_h > 1 && taps_w > 1;
  return "Winograd F(" + sizes(winograd_tile(taps_h), winograd_tile(taps_w), two) + ", " +
         sizes(taps_h, taps_w, two) + ")" +
         (phases > 1 ? ", " + std::to_string(phases) + " phases" : std::string());
}

// The method that conv_forward takes for images of this shape (N, C, H, W), for people to read.
std::string conv_kernel(const std::array<int64_t, 4>& image, const ArrayRef& weight, const Pair& stride,
                        const Padding& padding, const Pair& dilation, int64_t groups, bool channels_last,
                        bool bf16) {
  return with_dtype(weight, [&](auto zero) -> std::string {
    const ConvGeometry g = geometry(image[0], image[1], image[2], image[3], weight_sizes(weight),
                                    {stride, dilation, padding, groups});
    if (bf16 && bf16_suits(g)) return bf16_conv_name(g);
    switch (neocog::conv_kernel<decltype(zero)>(
        g, channels_last ? Layout::kChannelsLast : Layout::kChannelsFirst)) {
      case ConvKernel::kDepthwise: return "depthwise";
      case ConvKernel::kWinograd:
      case ConvKernel::kSpaceToDepth: return winograd_name(g);
      case ConvKernel::kWinogradGroups: return winograd_name(g) + ", vectors of tiles";
      case ConvKernel::kFewPixels: return "direct, few pixels";
      case ConvKernel::kPixelVectors: return "direct, vectors of pixels";
      case ConvKernel::kCol2im: return "direct, columns added up";
      case ConvKernel::kNarrowGroups: return "direct, several groups to a vector";
      case ConvKernel::kParts: return "direct, float32 in three parts";
      default: return "direct, vectors of channels";
    }
  });
}

// (counts of the plain sum, of Winograd's method, whether that is chosen) for float32 images and weights of
// these shapes.
py::tuple conv_counts(const std::array<int64_t, 4>& image, const std::array<int64_t, 4>& weight,
                      const Pair& stride, const Padding& padding, const Pair& dilation, int64_t groups,
                      int use) {
  require(use >= 0 && use <= 2, "`use` must be 0 (forward), 1 (transposed) or 2 (weight gradient)");
  const ConvGeometry g =
      geometry(image[0], image[1], image[2], image[3], {weight[0], weight[1], weight[2], weight[3]},
               {stride, dilation, padding, groups});
  const auto of = static_cast<ConvUse>(use);
  const ConvCounts counts =
      space_to_depth_possible(g) ? space_to_depth_counts(g, of) : neocog::conv_counts(g, of);
  return py::make_tuple(counts.direct, counts.winograd, takes_winograd(g, of));
}

// (dx, dw, db): those that `mask` wants, or None.
py::tuple conv_backward(const ArrayRef& dy, const ArrayRef& x, const ArrayRef& weight, const Pair& stride,
                        const Padding& padding, const Pair& dilation, int64_t groups,
                        const std::array<bool, 3>& mask, bool channels_last, bool weight_channels_last) {
  return with_dtype(dy, [&](auto zero) -> py::tuple {
    using T = decltype(zero);
    const Image<const T> in = image_view<T>(x, channels_last), grad = image_view<T>(dy, channels_last);
    const ConvGeometry g =
        geometry(in.n, in.c, in.h, in.w, weight_sizes(weight), {stride, dilation, padding, groups});
    require(grad.n == in.n && grad.c == g.out_channels && g.h.out() == grad.h && g.w.out() == grad.w,
            "sizes of x and dy do not agree");
    const WeightView<T> w(weight);
    NewGradients<T> made(dy, x, in, grad.c, weight, mask, channels_last, weight_channels_last);
    {
      const py::gil_scoped_release nogil;
      neocog::conv_backward<T>(g, in, grad, mask[0] ? w.get() : nullptr, made.pointers());
      made.finish();
    }
    return made.tuple();
  });
}

py::object conv_backward_bias(const ArrayRef& dy, bool channels_last) {
  return with_dtype(dy, [&](auto zero) -> py::object {
    using T = decltype(zero);
    const Image<const T> grad = image_view<T>(dy, channels_last);
    NewArray<T> db = new_dense_like<T>(dy, {grad.c});
    const py::gil_scoped_release nogil;
    neocog::conv_backward_bias<T>(grad, db.data);
    return std::move(db.object);
  });
}

}  // namespace

void bind_conv(py::module_& m) {
  m.def("conv_forward", &conv_forward, "x"_a, "weight"_a, "bias"_a, "residual"_a, "stride"_a, "padding"_a,
        "dilation"_a, "groups"_a, "activation"_a, "alpha"_a, "channels_last"_a, "direct"_a = false,
        "bf16"_a = false);
  m.def("conv_batch_norm_training", &conv_batch_norm_training, "x"_a, "weight"_a, "bias"_a, "bn_weight"_a,
        "bn_bias"_a, "stride"_a, "padding"_a, "dilation"_a, "groups"_a, "eps"_a, "activation"_a, "alpha"_a,
        "channels_last"_a);
  m.def("conv_counts", &conv_counts, "image"_a, "weight"_a, "stride"_a, "padding"_a, "dilation"_a, "groups"_a,
        "use"_a);
  m.def("set_winograd_always", &set_winograd_always, "always"_a);
  m.def("conv_kernel", &conv_kernel, "image"_a, "weight"_a, "stride"_a, "padding"_a, "dilation"_a, "groups"_a,
        "channels_last"_a = false, "bf16"_a = false);
  m.def("conv_backward", &conv_backward, "dy"_a, "x"_a, "weight"_a, "stride"_a, "padding"_a, "dilation"_a,
        "groups"_a, "mask"_a, "channels_last"_a, "weight_channels_last"_a = false);
  m.def("conv_backward_bias", &conv_backward_bias, "dy"_a, "channels_last"_a);
}

}  // namespace neocog::bindings
