// Numbers in, numbers out: how fast this machine can be.
#include "core/limits.h"

#include "bindings/arrays.h"

namespace neocog::bindings {
namespace {

// Bounds that keep a measurement under a second and its memory within reason.
constexpr int64_t kLeastBytes = int64_t{1} << 12, kMostBytes = int64_t{1} << 30;

void check(int threads, int64_t bytes) {
  require(threads > 0, "`threads` must be at least 1");
  require(kLeastBytes <= bytes && bytes <= kMostBytes, "`bytes` must lie between 4096 and 2**30");
}

double fma_peak(int threads) {
  check(threads, kLeastBytes);
  const py::gil_scoped_release nogil;
  return measure_fma_peak(threads);
}

double copy_bandwidth(int threads, int64_t bytes) {
  check(threads, bytes);
  const py::gil_scoped_release nogil;
  return measure_copy_bandwidth(threads, bytes);
}

double read_bandwidth(int threads, int64_t bytes) {
  check(threads, bytes);
  const py::gil_scoped_release nogil;
  return measure_read_bandwidth(threads, bytes);
}

double fma_chains(int threads) {
  check(threads, kLeastBytes);
  const py::gil_scoped_release nogil;
  return run_fma_chains(threads);
}

void copy(int threads, const py::array_t<float>& from, py::array_t<float>& to) {
  check(threads, kLeastBytes);
  require(from.ndim() == 1 && to.ndim() == 1 && from.size() == to.size(),
          "`from_` and `to` must be vectors of one size");
  require(from.strides(0) == sizeof(float) && to.strides(0) == sizeof(float),
          "`from_` and `to` must be contiguous");
  const float* const source = from.data();
  float* const target = to.mutable_data();
  const py::gil_scoped_release nogil;
  run_copy(threads, source, target, from.size());
}

}  // namespace

void bind_limits(py::module_& m) {
  m.def("measure_fma_peak", &fma_peak, "threads"_a);
  m.def("measure_copy_bandwidth", &copy_bandwidth, "threads"_a, "bytes"_a);
  m.def("measure_read_bandwidth", &read_bandwidth, "threads"_a, "bytes"_a);
  m.def("run_fma_chains", &fma_chains, "threads"_a);
  m.def("run_copy", &copy, "threads"_a, "from_"_a.noconvert(), "to"_a.noconvert());
}

}  // namespace neocog::bindings
