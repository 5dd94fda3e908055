#include "core/limits.h"

#include <algorithm>
#include <chrono>

#include "core/parallel.h"
#include "core/scratch.h"
#include "core/window.h"

namespace neocog {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// Least time of one call of `once`: kLeast calls, and more while they fit into kBudget seconds. The
// first call warms up (threads, clock rate, pages) and does not count.
template <class F>
double best_seconds(F&& once) {
  constexpr int kLeast = 3;
  constexpr double kBudget = 0.25;
  once();
  const Clock::time_point begin = Clock::now();
  double best = 1e300;
  for (int call = 0; call < kLeast || seconds_since(begin) < kBudget; ++call) {
    const Clock::time_point start = Clock::now();
    once();
    const double seconds = seconds_since(start);
    if (seconds < best) best = seconds;
  }
  return best;
}

// One item per thread; the same item takes the same part every time.
int items_for(int threads) {
  return static_cast<int>(max64(1, min64(threads, get_num_threads())));
}

// Calls body(first, count) once per item, `blocks` in all, in one parallel region.
template <class F>
void share(int items, int64_t blocks, F&& body) {
  parallel_for(items, [&](int64_t item, int) {
    const int64_t first = blocks * item / items;
    body(first, blocks * (item + 1) / items - first);
  });
}

// Writes every element, each by the thread that will use it: its pages then lie in that thread's memory.
void touch(int items, int64_t blocks, int64_t block, float* data) {
  share(items, blocks, [&](int64_t first, int64_t count) {
    for (int64_t i = first * block; i < (first + count) * block; ++i) data[i] = 1.0f;
  });
}

}  // namespace

double run_fma_chains(int threads) {
  constexpr int64_t kSteps = int64_t{1} << 21;  // 5 to 10 ms
  const auto& kernels = limit_kernels<float>();
  const int items = items_for(threads);
  parallel_for(items, [&](int64_t, int) { kernels.fma_chains(kSteps); });
  return static_cast<double>(items * kSteps * kernels.operations);
}

void run_copy(int threads, const float* from, float* to, int64_t size) {
  const auto& kernels = limit_kernels<float>();
  const int64_t blocks = size / kernels.block, done = blocks * kernels.block;
  share(items_for(threads), blocks, [&](int64_t first, int64_t count) {
    kernels.copy(from + first * kernels.block, to + first * kernels.block, count);
  });
  std::copy(from + done, from + size, to + done);
}

double measure_fma_peak(int threads) {
  double operations = 0;
  const double seconds = best_seconds([&] { operations = run_fma_chains(threads); });
  return operations / seconds;
}

double measure_copy_bandwidth(int threads, int64_t bytes) {
  const auto& kernels = limit_kernels<float>();
  const int64_t blocks = max64(1, bytes / (2 * kernels.block * static_cast<int64_t>(sizeof(float))));
  const int64_t size = blocks * kernels.block;
  Scratch scratch(2 * Scratch::bytes_of<float>(size));
  float* const from = scratch.take<float>(size);
  float* const to = scratch.take<float>(size);
  touch(items_for(threads), blocks, kernels.block, from);
  const double seconds = best_seconds([&] { run_copy(threads, from, to, size); });
  return static_cast<double>(2 * size * static_cast<int64_t>(sizeof(float))) / seconds;
}

double measure_read_bandwidth(int threads, int64_t bytes) {
  const auto& kernels = limit_kernels<float>();
  const int items = items_for(threads);
  const int64_t blocks = max64(1, bytes / (kernels.block * static_cast<int64_t>(sizeof(float))));
  const int64_t size = blocks * kernels.block;
  Scratch scratch(Scratch::bytes_of<float>(size));
  float* const from = scratch.take<float>(size);
  touch(items, blocks, kernels.block, from);
  const double seconds = best_seconds([&] {
    share(items, blocks,
          [&](int64_t first, int64_t count) { kernels.read(from + first * kernels.block, count); });
  });
  return static_cast<double>(size * static_cast<int64_t>(sizeof(float))) / seconds;
}

}  // namespace neocog
