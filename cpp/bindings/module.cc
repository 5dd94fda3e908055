#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <string>
#include <vector>

#include "bindings/array_ref.h"
#include "core/bf16.h"
#include "core/isa.h"
#include "core/memory.h"
#include "core/parallel.h"
#include "core/strict.h"

namespace py = pybind11;

namespace neocog::bindings {

void bind_batch_norm(py::module_& m);
void bind_build_info(py::module_& m);
void bind_conv(py::module_& m);
void bind_conv_transpose(py::module_& m);
void bind_depthwise(py::module_& m);
void bind_elementwise(py::module_& m);
void bind_engine(py::module_& m);
void bind_gemm(py::module_& m);
void bind_limits(py::module_& m);
void bind_pool(py::module_& m);
void bind_rearrange(py::module_& m);
void bind_resample(py::module_& m);
void bind_separable(py::module_& m);

namespace {

std::vector<std::string> available_isas() {
  std::vector<std::string> names;
  for (const Isa isa : kAllIsas) {
    if (isa_available(isa)) names.emplace_back(isa_name(isa));
  }
  return names;
}

void set_isa(const std::string& name) {
  for (const Isa isa : kAllIsas) {
    if (name == isa_name(isa) && set_active_isa(isa)) return;
  }
  throw py::value_error("`name` is '" + name +
                        "', not an instruction set of this CPU; see available_isas().");
}

std::vector<std::string> available_bf16_units() {
  std::vector<std::string> names;
  for (const Bf16Unit unit : kAllBf16Units) {
    if (bf16_unit_available(unit)) names.emplace_back(bf16_unit_name(unit));
  }
  return names;
}

void set_bf16_unit(const std::string& name) {
  for (const Bf16Unit unit : kAllBf16Units) {
    if (name == bf16_unit_name(unit) && set_active_bf16_unit(unit)) return;
  }
  throw py::value_error("`name` is '" + name +
                        "', not a bfloat16 unit of this CPU; see available_bf16_units().");
}

}  // namespace

PYBIND11_MODULE(_core, m, py::mod_gil_not_used()) {
  m.doc() = "Compiled kernels of neocog. Private: use neocog.ops.";
  m.attr("__version__") = NEOCOG_VERSION;
  m.attr("isa_environment_error") = py::cast(isa_environment_error());
  m.def("available_isas", &available_isas);
  m.def("active_isa", [] { return std::string(isa_name(active_isa())); });
  m.def("set_isa", &set_isa, py::arg("name"));
  m.attr("bf16_environment_error") = py::cast(bf16_environment_error());
  m.def("available_bf16_units", &available_bf16_units);
  m.def("active_bf16_unit", [] { return std::string(bf16_unit_name(active_bf16_unit())); });
  m.def("set_bf16_unit", &set_bf16_unit, py::arg("name"));
  m.def(
      "memory_layout", [](const ArrayRef& images) { return static_cast<int>(memory_layout(images)); },
      py::arg("images"));
  m.def("get_num_threads", &get_num_threads);
  m.def("set_num_threads", &set_num_threads, py::arg("threads"));
  m.def("free_kept_memory", &free_kept_blocks, py::call_guard<py::gil_scoped_release>());
  m.def("strict", &strict);
  m.def("set_strict", &set_strict, py::arg("strict"));
  bind_batch_norm(m);
  bind_build_info(m);
  bind_conv(m);
  bind_conv_transpose(m);
  bind_depthwise(m);
  bind_elementwise(m);
  bind_engine(m);
  bind_gemm(m);
  bind_limits(m);
  bind_pool(m);
  bind_rearrange(m);
  bind_resample(m);
  bind_separable(m);
}

}  // namespace neocog::bindings
