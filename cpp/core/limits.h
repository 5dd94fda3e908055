// What this machine can do at best: multiply-adds per second and bytes per second.
// Kernels are judged against these, measured in the same process with the same threads.
// May be called from any thread; the measure_ functions take about a third of a second each.
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

// The work of the first two once, 5 to 20 ms, for callers that time it among other things: a machine that
// others share is at no two moments equally fast. run_fma_chains returns its operations; run_copy copies
// `size` elements.
double run_fma_chains(int threads);
void run_copy(int threads, const float* from, float* to, int64_t size);

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
