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

// The gradient of a weight, in either order of its axes.
template <class T>
class NewGradient {
 public:
  NewGradient(const ArrayRef& like, const std::array<int64_t, 4>& sizes, bool channels_last) : sizes_(sizes) {
    require(!channels_last || like.ndim() == 4, "channels come last in two dimensions only");
    std::vector<py::ssize_t> shape(sizes.begin(), sizes.end());
    if (like.ndim() == 3) shape.erase(shape.begin() + 2);
    NewImage<T> made = new_image<T>(like, shape, channels_last);
    object = std::move(made.object);
    data_ = made.image.data;
    if (channels_last) block_.emplace(static_cast<size_t>(made.image.size()) * sizeof(T));
  }
  // Where the sums go, (O, I/groups, R, S); `finish` turns them where the channels come last.
  T* sums() const { return block_ ? block_->template as<T>() : data_; }
  void finish() const {
    if (block_) neocog::weight_channels_last(sizes_[0], sizes_[1], sizes_[2] * sizes_[3], sums(), data_);
  }

  py::object object;

 private:
  std::array<int64_t, 4> sizes_;
  T* data_;
  std::optional<HeldBlock> block_;
};

// The gradients that a mask wants, of images like `x` and weights like `weight`.
template <class T>
class NewGradients {
 public:
  NewGradients(const ArrayRef& dy, const ArrayRef& x, const Image<const T>& in, int64_t biases,
               const ArrayRef& weight, const std::array<bool, 3>& mask, bool channels_last,
               bool weight_channels_last) {
    if (mask[0]) x_.emplace(new_image<T>(dy, in.n, in.c, in.h, in.w, channels_last));
    if (mask[1]) weight_.emplace(x, weight_sizes(weight), weight_channels_last);
    if (mask[2]) bias_.emplace(new_dense_like<T>(dy, {biases}));
  }
  ConvGradients<T> pointers() const {
    return {x_ ? x_->image.data : nullptr, weight_ ? weight_->sums() : nullptr,
            bias_ ? bias_->data : nullptr};
  }
  void finish() const {
    if (weight_) weight_->finish();
  }
  // (dx, dw, db), None where one is not wanted.
  py::tuple tuple() {
    const auto object_or_none = [](auto& made) -> py::object {
      return made ? std::move(made->object) : py::none();
    };
    return py::make_tuple(object_or_none(x_), object_or_none(weight_), object_or_none(bias_));
  }

 private:
  std::optional<NewImage<T>> x_;
  std::optional<NewGradient<T>> weight_;
  std::optional<NewArray<T>> bias_;
};

}  // namespace neocog::bindings
