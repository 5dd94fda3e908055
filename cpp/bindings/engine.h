// Programs in Python: an operand is a tuple (buffer, offset, shape, strides), in elements.
#pragma once

#include <pybind11/stl.h>

#include <memory>
#include <variant>

#include "bindings/arrays.h"
#include "engine/checks.h"
#include "engine/program.h"
#include "engine/steps.h"

namespace neocog::bindings {

using ProgramClass = py::class_<Program, std::shared_ptr<Program>>;

// Weights of a layer and the array that they lie in.
struct HeldWeights {
  LayerWeightsPtr weights;
  py::object array;  // kept alive by every program too
};

// Weights of a layer, or those that another step computes.
using WeightArgument = std::variant<HeldWeights, Operand>;

inline WeightSource source(const WeightArgument& weights) {
  if (const auto* held = std::get_if<HeldWeights>(&weights)) return held->weights;
  check_operand(std::get<Operand>(weights));
  return std::get<Operand>(weights);
}

inline Activation activation_of(int code) {
  require(0 <= code && code <= static_cast<int>(Activation::kHardswish), "unknown activation");
  return static_cast<Activation>(code);
}

void bind_engine_steps(ProgramClass& program);

}  // namespace neocog::bindings

namespace pybind11::detail {
template <>
struct type_caster<neocog::Operand> {
  PYBIND11_TYPE_CASTER(neocog::Operand, const_name("tuple[int, int, Sequence[int], Sequence[int]]"));
  bool load(handle source, bool) {
    if (!PyTuple_Check(source.ptr()) || PyTuple_GET_SIZE(source.ptr()) != 4) return false;
    int64_t place[64];
    const auto integer = [&](Py_ssize_t i, int64_t& to) {
      to = PyLong_AsLongLong(PyTuple_GET_ITEM(source.ptr(), i));
      if (to != -1 || PyErr_Occurred() == nullptr) return true;
      PyErr_Clear();
      return false;
    };
    const auto integers = [&](Py_ssize_t i, std::vector<int64_t>& to) {
      const Py_ssize_t size = read_integers(PyTuple_GET_ITEM(source.ptr(), i), place, 64);
      if (size >= 0) to.assign(place, place + size);
      return size >= 0;
    };
    int64_t buffer = 0;
    if (!integer(0, buffer) || buffer < 0 || buffer > INT32_MAX) return false;
    value.buffer = static_cast<int>(buffer);
    return integer(1, value.offset) && integers(2, value.shape) && integers(3, value.stride);
  }
};
}  // namespace pybind11::detail
