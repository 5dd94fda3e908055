#include "ops/elementwise/softmax.h"

#include "core/parallel.h"
#include "core/window.h"

namespace neocog {
namespace {

constexpr int64_t kChunk = 1 << 14;  // values one thread takes at a time, where lines are short

// Columns of a chunk: whole cache lines, so that no two threads write to the same one; at most what the
// kernel holds, and few enough for the second pass to find what the first has read in the second-level cache.
constexpr int64_t kLine = 64, kMostColumns = 1 << 10, kMostValues = 1 << 16;

// Calls rows(offset, rows) or columns(offset, columns) for chunks of the lines that cover the array.
template <class Rows, class Columns>
void for_lines(const SoftmaxGeometry& g, Rows&& rows, Columns&& columns) {
  if (g.outer == 0 || g.n == 0 || g.inner == 0) return;
  if (g.inner == 1) {
    const int64_t block = max64(1, kChunk / g.n);
    parallel_for(ceil_div(g.outer, block), [&](int64_t item, int) {
      const int64_t first = item * block;
      rows(first * g.n, min64(block, g.outer - first));
    });
    return;
  }
  const int64_t block = max64(kLine, min64(kMostColumns, kMostValues / g.n / kLine * kLine));
  const int64_t blocks = ceil_div(g.inner, block);
  parallel_for(g.outer * blocks, [&](int64_t item, int) {
    const int64_t first = item % blocks * block;
    columns(item / blocks * g.n * g.inner + first, min64(block, g.inner - first));
  });
}

}  // namespace

template <class T>
void softmax_forward(const SoftmaxGeometry& g, const T* x, T* y) {
  const SoftmaxKernels<T>& kernels = softmax_kernels<T>();
  for_lines(
      g, [&](int64_t at, int64_t rows) { kernels.rows(x + at, y + at, rows, g.n); },
      [&](int64_t at, int64_t columns) { kernels.columns(x + at, y + at, g.n, g.inner, columns); });
}

template <class T>
void log_softmax_forward(const SoftmaxGeometry& g, const T* x, T* y) {
  const SoftmaxKernels<T>& kernels = softmax_kernels<T>();
  for_lines(
      g, [&](int64_t at, int64_t rows) { kernels.log_rows(x + at, y + at, rows, g.n); },
      [&](int64_t at, int64_t columns) { kernels.log_columns(x + at, y + at, g.n, g.inner, columns); });
}

template <class T>
void softmax_backward(const SoftmaxGeometry& g, const T* dy, const T* y, T* dx) {
  const SoftmaxKernels<T>& kernels = softmax_kernels<T>();
  for_lines(
      g, [&](int64_t at, int64_t rows) { kernels.rows_backward(dy + at, y + at, dx + at, rows, g.n); },
      [&](int64_t at, int64_t columns) {
        kernels.columns_backward(dy + at, y + at, dx + at, g.n, g.inner, columns);
      });
}

template void softmax_forward<float>(const SoftmaxGeometry&, const float*, float*);
template void softmax_forward<double>(const SoftmaxGeometry&, const double*, double*);
template void log_softmax_forward<float>(const SoftmaxGeometry&, const float*, float*);
template void log_softmax_forward<double>(const SoftmaxGeometry&, const double*, double*);
template void softmax_backward<float>(const SoftmaxGeometry&, const float*, const float*, float*);
template void softmax_backward<double>(const SoftmaxGeometry&, const double*, const double*, double*);

}  // namespace neocog
