// The one place where Python arrays become pointers. Python has explained user errors by now; these checks
// keep memory safe whoever calls.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <stdexcept>

#include "core/image.h"
#include "core/memory.h"
#include "core/window.h"

namespace neocog::bindings {

namespace py = pybind11;
using namespace pybind11::literals;

using Pair = std::array<int64_t, 2>;
using Padding = std::array<int64_t, 4>;  // height lo, hi, width lo, hi
using Mask = std::array<bool, 3>;        // which gradients are wanted
using MaybeArray = std::optional<py::array>;

inline void require(bool condition, const char* message) {
  if (!condition) throw std::invalid_argument(message);
}

// Product of sizes; an error where it would overflow the address space.
inline int64_t checked_product(std::initializer_list<int64_t> sizes) {
  int64_t product = 1;
  for (const int64_t size : sizes) {
    require(size >= 0 && !__builtin_mul_overflow(product, size, &product), "the size of an array overflows");
  }
  require(product <= (int64_t{1} << 56), "the size of an array overflows");
  return product;
}

struct HeldBlock {
  Block block;
  explicit HeldBlock(size_t bytes) : block(acquire_block(bytes)) {}
  ~HeldBlock() { release_block(block); }
};

// Uninitialised, 64-byte aligned so that vectors never straddle cache lines; strides in elements.
template <class T>
py::array_t<T> new_array(const std::vector<py::ssize_t>& shape, const std::vector<py::ssize_t>& strides,
                         int64_t size) {
  auto held = std::make_unique<HeldBlock>(static_cast<size_t>(size < 1 ? 1 : size) * sizeof(T));
  T* const data = reinterpret_cast<T*>(held->block.data);
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

// A new (N, C, H, W) array in the given memory layout.
template <class T>
py::array_t<T> new_image(int64_t n, int64_t c, int64_t h, int64_t w, bool channels_last) {
  const int64_t size = checked_product({n, c, h, w});
  if (channels_last) return new_array<T>({n, c, h, w}, {h * w * c, 1, w * c, c}, size);
  return new_array<T>({n, c, h, w}, {c * h * w, h * w, w, 1}, size);
}

// Views (N, C, H, W) `array` as an image; its strides must be those of the layout.
template <class T>
Image<const T> image_view(const py::array& array, bool channels_last) {
  require(py::isinstance<py::array_t<T>>(array), "arrays must share one dtype, float32 or float64");
  require(array.ndim() == 4, "an image array must have four axes");
  Image<const T> image{static_cast<const T*>(array.data()),
                       array.shape(0),
                       array.shape(1),
                       array.shape(2),
                       array.shape(3),
                       channels_last ? Layout::kChannelsLast : Layout::kChannelsFirst};
  if (array.size() == 0) return image;
  const int64_t strides[4] = {image.stride_n(), image.stride_c(), image.stride_h(), image.stride_w()};
  for (int axis = 0; axis < 4; ++axis) {
    require(array.shape(axis) == 1 || array.strides(axis) == strides[axis] * static_cast<int64_t>(sizeof(T)),
            "an image array must be dense in its layout");
  }
  return image;
}

template <class T>
Image<T> mutable_image(py::array_t<T>& array, bool channels_last) {
  const Image<const T> view = image_view<T>(array, channels_last);
  return {const_cast<T*>(view.data), view.n, view.c, view.h, view.w, view.layout};
}

// The data of a C-contiguous array with this many elements.
template <class T>
const T* dense(const py::array& array, int64_t size) {
  require(py::isinstance<py::array_t<T>>(array), "arrays must share one dtype, float32 or float64");
  require((array.flags() & py::array::c_style) != 0, "this array must be C-contiguous");
  require(array.size() == size, "an array has the wrong number of elements");
  return static_cast<const T*>(array.data());
}

template <class T>
const T* dense(const MaybeArray& array, int64_t size) {
  return array ? dense<T>(*array, size) : nullptr;
}

// Calls f(T{}) with T the dtype of `array`.
template <class F>
auto with_dtype(const py::array& array, F&& f) {
  if (py::isinstance<py::array_t<float>>(array)) return f(float{});
  require(py::isinstance<py::array_t<double>>(array), "arrays must be float32 or float64");
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
