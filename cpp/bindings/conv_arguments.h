// Arguments that the bindings of the convolution family share.
#pragma once

#include <algorithm>
#include <cstdlib>

#include "bindings/arrays.h"
#include "ops/conv/conv.h"
#include "ops/conv/weight_layout.h"

namespace neocog::bindings {

// Stride, padding, dilation and groups, as Python resolved them.
struct ConvArguments {
  Pair stride, dilation;
  Padding padding;
  int64_t groups;
};

// (O, C/groups, R, S); an array may lack R, in one dimension.
using WeightSizes = std::array<int64_t, 4>;

inline WeightSizes weight_sizes(const ArrayRef& weight) {
  require(weight.ndim() == 3 || weight.ndim() == 4, "`weight` must have three or four axes");
  const bool planar = weight.ndim() == 4;
  return {weight.shape(0), weight.shape(1), planar ? weight.shape(2) : 1, weight.shape(planar ? 3 : 2)};
}

// A weight as the kernels read it, (O, C/groups, R, S) row-major: its own memory, or turned from
// channels-last.
template <class T>
class WeightView {
 public:
  explicit WeightView(const ArrayRef& weight) : sizes_(weight_sizes(weight)) {
    require(weight.dtype() == dtype_of<T>, "arrays must share one dtype, float32 or float64");
    data_ = static_cast<const T*>(weight.data());
    if (weight.c_contiguous()) return;
    require(memory_layout(weight) == MemoryLayout::kLast, "a weight must be dense");
    block_.emplace(static_cast<size_t>(weight.size()) * sizeof(T));
  }
  // Without Python's lock: this may take a while.
  const T* get() const {
    if (!block_) return data_;
    T* const turned = block_->template as<T>();
    weight_channels_first(sizes_[0], sizes_[1], sizes_[2] * sizes_[3], data_, turned);
    return turned;
  }

 private:
  WeightSizes sizes_;
  const T* data_;
  std::optional<HeldBlock> block_;
};

inline ConvGeometry geometry(int64_t n, int64_t channels, int64_t h, int64_t w, const WeightSizes& weight,
                             const ConvArguments& a) {
  require(a.groups > 0 && channels % a.groups == 0 && weight[0] % a.groups == 0 &&
              weight[1] == channels / a.groups,
          "channels and `groups` do not agree");
  const WindowAxis axis_h = window_axis(h, weight[2], a.stride[0], a.dilation[0], a.padding[0], a.padding[1]);
  const WindowAxis axis_w = window_axis(w, weight[3], a.stride[1], a.dilation[1], a.padding[2], a.padding[3]);
  // Kernels copy parts of the padded image: it must be small enough to be counted.
  const auto padded = [](const WindowAxis& axis) {
    return axis.in + std::abs(axis.pad_lo) + std::abs(axis.pad_hi) + axis.dilation * (axis.kernel - 1) + 1;
  };
  checked_product({std::max<int64_t>(1, channels), padded(axis_h), padded(axis_w)});
  checked_product({weight[0], std::max<int64_t>(1, channels), axis_h.kernel, axis_w.kernel});
  return {n, channels, weight[0], a.groups, axis_h, axis_w};
}

// Where the caller does not say whether channels come last: as torch decides it from x and the weight.
inline bool channels_last_of(const MaybeLast& channels_last, const ArrayRef& x, const ArrayRef& weight) {
  require(x.ndim() == weight.ndim(), "x and `weight` must have as many axes");
  return channels_last_of(channels_last, x) ||
         (!channels_last && memory_layout(weight) == MemoryLayout::kLast);
}

template <class T>
Epilogue<T> epilogue(const MaybeArray& bias, const MaybeArray& residual, int activation, double alpha,
                     const Image<T>& y) {
  require(0 <= activation && activation <= static_cast<int>(Activation::kHardswish), "unknown activation");
  Epilogue<T> e{dense_or_null<T>(bias, y.c), nullptr, static_cast<Activation>(activation),
                static_cast<T>(alpha)};
  if (residual) {
    const Image<const T> image = image_view<T>(*residual, y.channels_last());
    require(image.n == y.n && image.c == y.c && image.h == y.h && image.w == y.w,
            "`residual` must have the shape of y");
    e.residual = image.data;
  }
  return e;
}

}  // namespace neocog::bindings
