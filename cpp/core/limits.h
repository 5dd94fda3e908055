// What this machine can do at best: multiply-adds per second and bytes per second.
// Kernels are judged against these, measured in the same process with the same threads.
// Each function takes about a third of a second and may be called from any thread.
#pragma once

#include <cstdint>

#include "core/isa.h"

namespace neocog {

// float32 operations per second (a multiply-add counts two), operands in registers, on the active
// instruction set and `threads` threads, but no more than get_num_threads().
double measure_fma_peak(int threads);

// Bytes read plus bytes written per second while copying one half of `bytes` bytes to the other
// with ordinary stores. Take many times the size of the caches. Throws bad_alloc.
double measure_copy_bandwidth(int threads, int64_t bytes);

// Bytes per second while summing `bytes` bytes. Throws bad_alloc.
double measure_read_bandwidth(int threads, int64_t bytes);

// One instruction set's loops, each on one thread.
template <class T>
struct LimitKernels {
  int64_t operations;  // of one step of fma_chains
  T (*fma_chains)(int64_t steps);
  int64_t block;  // elements; copy and read work on whole blocks
  void (*copy)(const T* from, T* to, int64_t blocks);
  T (*read)(const T* from, int64_t blocks);
};

NEOCOG_DECLARE_TABLES(LimitKernels, limit_kernels)

}  // namespace neocog
