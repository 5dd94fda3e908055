// An array that a call was given: NumPy's, or a tensor of a framework that has the DLPack exchange table
// (github.com/dmlc/dlpack, version 1.3). Neither is copied, and results are made of the kind of the argument.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <cstdint>
#include <optional>
#include <stdexcept>
#include <vector>

#include "core/require.h"

namespace neocog::bindings {

namespace py = pybind11;

enum class DType { kFloat32, kFloat64, kInt64, kOther };
template <class T>
constexpr DType dtype_of = std::is_same_v<T, float>     ? DType::kFloat32
                           : std::is_same_v<T, double>  ? DType::kFloat64
                           : std::is_same_v<T, int64_t> ? DType::kInt64
                                                        : DType::kOther;

// Valid while the caller holds the array.
class ArrayRef {
 public:
  ArrayRef() = default;
  ArrayRef(const py::array& array);  // NOLINT: an array is one
  // nullopt: not an array of any kind. An array that a kernel could not read is an error.
  static std::optional<ArrayRef> of(py::handle object);

  int64_t ndim() const { return ndim_; }
  int64_t shape(int64_t axis) const { return shape_[axis]; }
  const int64_t* shape() const { return shape_; }
  // In bytes.
  int64_t strides(int64_t axis) const { return strides_[axis] * stride_unit_; }
  int64_t size() const;
  const void* data() const { return data_; }
  DType dtype() const { return dtype_; }
  bool c_contiguous() const;
  // Dense in this order of the axes, the outermost first.
  bool dense(const int64_t* order) const;
  int64_t item_size() const { return item_size_; }
  bool is_tensor() const { return static_cast<bool>(tensor_); }
  py::handle tensor() const { return tensor_; }

 private:
  void* data_ = nullptr;
  const int64_t *shape_ = nullptr, *strides_ = nullptr;
  int64_t ndim_ = 0, stride_unit_ = 1, item_size_ = 1;
  DType dtype_ = DType::kOther;
  py::handle tensor_;  // null for an array of NumPy
};

// Which layout torch would take these strides for, and whether the array is dense in it.
enum class MemoryLayout { kFirst, kLast, kFirstWithGaps, kLastWithGaps };
MemoryLayout memory_layout(const ArrayRef& images);

// A new tensor of torch and where it lies; strides in elements.
struct NewTensor {
  py::object object;
  void* data;
};
NewTensor new_tensor(const ArrayRef& like, const std::vector<py::ssize_t>& shape,
                     const std::vector<py::ssize_t>& strides, DType dtype);

}  // namespace neocog::bindings

namespace pybind11::detail {
template <>
struct type_caster<neocog::bindings::ArrayRef> {
  PYBIND11_TYPE_CASTER(neocog::bindings::ArrayRef, const_name("array"));
  bool load(handle source, bool) {
    const auto found = neocog::bindings::ArrayRef::of(source);
    if (found) value = *found;
    return found.has_value();
  }
};
}  // namespace pybind11::detail
