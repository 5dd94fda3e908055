// Arguments that the bindings of the convolution family share.
#pragma once

#include <algorithm>
#include <cstdlib>

#include "bindings/arrays.h"
#include "ops/conv/conv.h"

namespace neocog::bindings {

// Stride, padding, dilation and groups, as Python resolved them.
struct ConvArguments {
  Pair stride, dilation;
  Padding padding;
  int64_t groups;
};

inline ConvGeometry geometry(int64_t n, int64_t channels, int64_t h, int64_t w, const py::array& weight,
                             const ConvArguments& a) {
  require(weight.ndim() == 4, "`weight` must have four axes");
  require(a.groups > 0 && channels % a.groups == 0 && weight.shape(0) % a.groups == 0 &&
              weight.shape(1) == channels / a.groups,
          "channels and `groups` do not agree");
  const WindowAxis axis_h =
      window_axis(h, weight.shape(2), a.stride[0], a.dilation[0], a.padding[0], a.padding[1]);
  const WindowAxis axis_w =
      window_axis(w, weight.shape(3), a.stride[1], a.dilation[1], a.padding[2], a.padding[3]);
  // Kernels copy parts of the padded image: it must be small enough to be counted.
  const auto padded = [](const WindowAxis& axis) {
    return axis.in + std::abs(axis.pad_lo) + std::abs(axis.pad_hi) + axis.dilation * (axis.kernel - 1) + 1;
  };
  checked_product({std::max<int64_t>(1, channels), padded(axis_h), padded(axis_w)});
  checked_product({weight.shape(0), std::max<int64_t>(1, channels), axis_h.kernel, axis_w.kernel});
  return {n, channels, weight.shape(0), a.groups, axis_h, axis_w};
}

template <class T>
Epilogue<T> epilogue(const MaybeArray& bias, const MaybeArray& residual, int activation, double alpha,
                     const py::array_t<T>& y, int64_t channels, bool channels_last) {
  require(0 <= activation && activation <= static_cast<int>(Activation::kHardswish), "unknown activation");
  Epilogue<T> e{dense<T>(bias, channels), nullptr, static_cast<Activation>(activation),
                static_cast<T>(alpha)};
  if (residual) {
    e.residual = image_view<T>(*residual, channels_last).data;
    require(std::equal(residual->shape(), residual->shape() + 4, y.shape()),
            "`residual` must have the shape of y");
  }
  return e;
}

}  // namespace neocog::bindings
