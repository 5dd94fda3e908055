// The one place where Python arrays become pointers. Python has explained user errors by now; these checks
// keep memory safe whoever calls.
#pragma once

#include <pybind11/stl.h>

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <stdexcept>

#include "bindings/array_ref.h"
#include "core/held_block.h"
#include "core/image.h"
#include "core/window.h"

namespace neocog::bindings {

using namespace pybind11::literals;

// Read from a tuple or a list at once: the general conversion costs as much as a small kernel.
struct Pair : std::array<int64_t, 2> {};
struct Padding : std::array<int64_t, 4> {
};  // height lo, hi, width lo, hi; from two values: the same at both ends
using Mask = std::array<bool, 3>;  // which gradients are wanted
using MaybeArray = std::optional<ArrayRef>;

// Product of sizes; an error where it would overflow the address space.
inline int64_t checked_product(std::initializer_list<int64_t> sizes) {
  int64_t product = 1;
  for (const int64_t size : sizes) {
    require(size >= 0 && !__builtin_mul_overflow(product, size, &product), "the size of an array overflows");
  }
  require(product <= (int64_t{1} << 56), "the size of an array overflows");
  return product;
}

// Uninitialised, 64-byte aligned so that vectors never straddle cache lines; strides in elements.
template <class T>
py::array_t<T> new_array(const std::vector<py::ssize_t>& shape, const std::vector<py::ssize_t>& strides,
                         int64_t size) {
  auto held = std::make_unique<HeldBlock>(static_cast<size_t>(size < 1 ? 1 : size) * sizeof(T));
  T* const data = held->template as<T>();
  py::capsule owner(held.get(), [](void* p) { delete static_cast<HeldBlock*>(p); });
  held.release();
  std::vector<py::ssize_t> bytes(strides);
  for (py::ssize_t& stride : bytes) stride *= sizeof(T);
  return py::array_t<T>(shape, bytes, data, owner);
}

template <class T>
py::array_t<T> new_dense(const std::vector<int64_t>& shape) {
  int64_t size = 1;
  for (const int64_t s : shape) size = checked_product({size, s});
  std::vector<py::ssize_t> dims(shape.begin(), shape.end()), strides(shape.size());
  int64_t stride = 1;
  for (size_t i = shape.size(); i-- > 0; stride *= std::max<int64_t>(1, shape[i])) strides[i] = stride;
  return new_array<T>(dims, strides, size);
}

// A new array of the kind of `like`; strides in elements.
template <class T>
struct NewArray {
  py::object object;
  T* data;
};

template <class T>
NewArray<T> new_array_like(const ArrayRef& like, const std::vector<py::ssize_t>& shape,
                           const std::vector<py::ssize_t>& strides) {
  if (like.is_tensor()) {
    NewTensor tensor = new_tensor(like, shape, strides, dtype_of<T>);
    return {std::move(tensor.object), static_cast<T*>(tensor.data)};
  }
  int64_t size = 1;
  for (const int64_t s : shape) size *= s;
  py::array_t<T> array = new_array<T>(shape, strides, size);
  T* const data = array.mutable_data();
  return {std::move(array), data};
}

template <class T>
NewArray<T> new_dense_like(const ArrayRef& like, const std::vector<py::ssize_t>& shape) {
  std::vector<py::ssize_t> strides(shape.size());
  int64_t stride = 1;
  for (size_t i = shape.size(); i-- > 0; stride = checked_product({stride, std::max<int64_t>(1, shape[i])})) {
    strides[i] = stride;
  }
  return new_array_like<T>(like, shape, strides);
}

// A new array (N, C, ...) and the image in it: dense in the layout, spatial axes folded into height and
// width.
template <class T>
struct NewImage {
  py::object object;
  Image<T> image;
};

template <class T>
NewImage<T> new_image(const ArrayRef& like, std::vector<py::ssize_t> shape, bool channels_last) {
  const size_t last = shape.size() - 1;
  const int64_t n = shape[0], c = shape[1], w = last > 1 ? shape[last] : 1;
  int64_t h = 1;
  for (size_t axis = 2; axis < last; ++axis) h = checked_product({h, shape[axis]});
  checked_product({n, c, h, w});
  std::vector<py::ssize_t> strides(shape.size());
  // As torch counts them: an axis without elements counts as one.
  int64_t stride = channels_last ? std::max<int64_t>(1, c) : 1;
  for (size_t axis = last; axis > 1; --axis) {
    strides[axis] = stride;
    stride *= std::max<py::ssize_t>(1, shape[axis]);
  }
  strides[1] = channels_last ? 1 : stride;
  strides[0] = channels_last ? stride : stride * std::max<int64_t>(1, c);
  NewArray<T> array = new_array_like<T>(like, shape, strides);
  return {std::move(array.object),
          {array.data, n, c, h, w, channels_last ? Layout::kChannelsLast : Layout::kChannelsFirst}};
}

// The same for a result of a two-dimensional op: without its height where `like` has one spatial axis.
template <class T>
NewImage<T> new_image(const ArrayRef& like, int64_t n, int64_t c, int64_t h, int64_t w, bool channels_last) {
  if (like.ndim() != 3) return new_image<T>(like, {n, c, h, w}, channels_last);
  require(h == 1, "a one-dimensional image has the height 1");
  return new_image<T>(like, {n, c, w}, channels_last);
}

// Views `array`, (N, C, ...), as an image with the spatial axes folded into height and width (one is the
// width); its strides must be those of the layout.
template <class T>
Image<const T> image_view(const ArrayRef& array, bool channels_last) {
  require(array.dtype() == dtype_of<T>, "arrays must share one dtype, float32 or float64");
  require(array.ndim() >= 2, "an image array must have a batch axis and channels");
  const int64_t last = array.ndim() - 1;
  Image<const T> image{static_cast<const T*>(array.data()),
                       array.shape(0),
                       array.shape(1),
                       1,
                       last > 1 ? array.shape(last) : 1,
                       channels_last ? Layout::kChannelsLast : Layout::kChannelsFirst};
  for (int64_t axis = 2; axis < last; ++axis) image.h = checked_product({image.h, array.shape(axis)});
  if (image.size() == 0) return image;
  const auto has_stride = [&](int64_t axis, int64_t elements) {
    return array.shape(axis) == 1 || array.strides(axis) == elements * static_cast<int64_t>(sizeof(T));
  };
  int64_t stride = image.stride_w();
  bool dense = has_stride(0, image.stride_n()) && has_stride(1, image.stride_c());
  for (int64_t axis = last; axis > 1; --axis) {
    dense = dense && has_stride(axis, stride);
    stride *= array.shape(axis);
  }
  require(dense, "an image array must be dense in its layout");
  return image;
}

// The data of a C-contiguous array with this many elements.
template <class T>
const T* dense(const ArrayRef& array, int64_t size) {
  require(array.dtype() == dtype_of<T>, "arrays must share one dtype, float32 or float64");
  require(array.c_contiguous(), "this array must be C-contiguous");
  require(array.size() == size, "an array has the wrong number of elements");
  return static_cast<const T*>(array.data());
}

template <class T>
const T* dense_or_null(const MaybeArray& array, int64_t size) {
  return array ? dense<T>(*array, size) : nullptr;
}

// Whether channels come last; where the caller does not say, as torch reads it from the strides.
using MaybeLast = std::optional<bool>;

inline bool channels_last_of(const MaybeLast& channels_last, const ArrayRef& x) {
  if (channels_last) return *channels_last;
  const MemoryLayout layout = memory_layout(x);
  require(layout == MemoryLayout::kFirst || layout == MemoryLayout::kLast, "`x` must be dense");
  require(x.size() > 0, "`x` must not be empty");
  return layout == MemoryLayout::kLast;
}

// Calls f(T{}) with T the dtype of `array`.
template <class F>
auto with_dtype(const ArrayRef& array, F&& f) {
  if (array.dtype() == DType::kFloat32) return f(float{});
  require(array.dtype() == DType::kFloat64, "arrays must be float32 or float64");
  return f(double{});
}

inline WindowAxis window_axis(int64_t in, int64_t kernel, int64_t stride, int64_t dilation, int64_t lo,
                              int64_t hi) {
  // Bounds far beyond any array keep the arithmetic of positions from overflowing.
  constexpr int64_t kMost = int64_t{1} << 40;
  const auto fits = [](int64_t value) { return -kMost < value && value < kMost; };
  require(kernel > 0 && stride > 0 && dilation > 0, "kernel, stride and dilation must be positive");
  require(in >= 0 && fits(in) && fits(kernel) && fits(stride) && fits(dilation) && fits(lo) && fits(hi) &&
              dilation <= kMost / kernel,
          "a window parameter is out of range");
  return {in, kernel, stride, dilation, lo, hi};
}

}  // namespace neocog::bindings

namespace pybind11::detail {

// The integers of a tuple or a list, or -1 where it is neither or longer than `most`.
inline Py_ssize_t read_integers(handle source, int64_t* values, Py_ssize_t most) {
  const bool tuple = PyTuple_Check(source.ptr());
  if (!tuple && !PyList_Check(source.ptr())) return -1;
  const Py_ssize_t size = tuple ? PyTuple_GET_SIZE(source.ptr()) : PyList_GET_SIZE(source.ptr());
  if (size > most) return -1;
  for (Py_ssize_t i = 0; i < size; ++i) {
    PyObject* const item = tuple ? PyTuple_GET_ITEM(source.ptr(), i) : PyList_GET_ITEM(source.ptr(), i);
    values[i] = PyLong_AsLongLong(item);  // through __index__
    if (values[i] == -1 && PyErr_Occurred()) {
      PyErr_Clear();
      return -1;
    }
  }
  return size;
}

template <>
struct type_caster<neocog::bindings::Pair> {
  PYBIND11_TYPE_CASTER(neocog::bindings::Pair, const_name("tuple[int, int]"));
  bool load(handle source, bool) { return read_integers(source, value.data(), 2) == 2; }
};

template <>
struct type_caster<neocog::bindings::Padding> {
  PYBIND11_TYPE_CASTER(neocog::bindings::Padding, const_name("tuple[int, int, int, int]"));
  bool load(handle source, bool) {
    const Py_ssize_t size = read_integers(source, value.data(), 4);
    if (size == 2) value = {{value[0], value[0], value[1], value[1]}};
    return size == 2 || size == 4;
  }
};

}  // namespace pybind11::detail
