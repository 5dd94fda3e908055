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

}  // namespace

void bind_limits(py::module_& m) {
  m.def("measure_fma_peak", &fma_peak, "threads"_a);
  m.def("measure_copy_bandwidth", &copy_bandwidth, "threads"_a, "bytes"_a);
  m.def("measure_read_bandwidth", &read_bandwidth, "threads"_a, "bytes"_a);
}

}  // namespace neocog::bindings
