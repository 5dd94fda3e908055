#include "ops/elementwise/prelu.h"

#include "core/parallel.h"
#include "core/scratch.h"
#include "core/window.h"
#include "ops/elementwise/elementwise.h"

namespace neocog {
namespace {

constexpr int64_t kChunk = 1 << 14;  // values one thread takes at a time

// How an array is cut: blocks of rows where channels lie side by side, else runs of one channel or pieces of
// them.
struct Cut {
  int64_t block;           // rows or runs of one item
  int64_t length, pieces;  // of a run, and how many it has
  int64_t items;

  explicit Cut(const PreluGeometry& g) {
    const bool rows = g.inner == 1;
    const int64_t lines = rows ? g.outer : g.outer * g.channels, size = rows ? g.channels : g.inner;
    block = max64(1, kChunk / size);
    length = rows ? size : min64(size, kChunk);
    pieces = ceil_div(size, length);
    items = ceil_div(lines, block) * pieces;
  }
};

bool empty(const PreluGeometry& g) {
  return g.outer == 0 || g.channels == 0 || g.inner == 0;
}

// One slope for all: nothing but a long run.
PreluGeometry flat(const PreluGeometry& g) {
  return g.channels == 1 ? PreluGeometry{1, 1, g.outer * g.inner} : g;
}

}  // namespace

template <class T>
void prelu_forward(const PreluGeometry& geometry, const T* x, const T* weight, T* y) {
  if (empty(geometry)) return;
  const PreluGeometry g = flat(geometry);
  const PreluKernels<T>& kernels = prelu_kernels<T>();
  const auto activate = elementwise_kernels<T>().activate;
  const Cut cut(g);
  parallel_for(cut.items, [&](int64_t item, int) {
    if (g.inner == 1) {
      const int64_t row = item * cut.block, at = row * g.channels;
      kernels.rows(x + at, weight, y + at, min64(cut.block, g.outer - row), g.channels);
      return;
    }
    const int64_t first = item % cut.pieces * cut.length, n = min64(cut.length, g.inner - first);
    const int64_t begin = item / cut.pieces * cut.block, end = min64(g.outer * g.channels, begin + cut.block);
    for (int64_t run = begin; run < end; ++run) {
      const int64_t at = run * g.inner + first;
      activate(Activation::kLeakyRelu, weight[run % g.channels], x + at, y + at, n);
    }
  });
}

template <class T>
void prelu_backward(const PreluGeometry& geometry, const T* dy, const T* x, const T* weight, T* dx,
                    T* dweight) {
  if (dweight != nullptr) {
    for (int64_t c = 0; c < geometry.channels; ++c) dweight[c] = 0;
  }
  if (empty(geometry)) return;
  const PreluGeometry g = flat(geometry);
  const PreluKernels<T>& kernels = prelu_kernels<T>();
  const Cut cut(g);
  // Shares of every item: of all channels (rows), or of every piece of every run.
  const bool rows = g.inner == 1;
  const int64_t lines = rows ? cut.items : g.outer * cut.pieces,
                size = dweight == nullptr ? 0 : lines * g.channels;
  Scratch scratch(Scratch::bytes_of<double>(size));
  double* const shares = dweight == nullptr ? nullptr : scratch.take<double>(size);
  parallel_for(cut.items, [&](int64_t item, int) {
    if (rows) {
      const int64_t row = item * cut.block, at = row * g.channels;
      kernels.rows_backward(dy + at, x + at, weight, dx == nullptr ? nullptr : dx + at,
                            shares == nullptr ? nullptr : shares + item * g.channels,
                            min64(cut.block, g.outer - row), g.channels);
      return;
    }
    const int64_t piece = item % cut.pieces, first = piece * cut.length,
                  n = min64(cut.length, g.inner - first);
    const int64_t begin = item / cut.pieces * cut.block, end = min64(g.outer * g.channels, begin + cut.block);
    for (int64_t run = begin; run < end; ++run) {
      const int64_t at = run * g.inner + first, c = run % g.channels;
      const double share =
          kernels.run_backward(dy + at, x + at, weight[c], dx == nullptr ? nullptr : dx + at, n);
      if (shares != nullptr) shares[(run / g.channels * cut.pieces + piece) * g.channels + c] = share;
    }
  });
  if (dweight == nullptr) return;
  for (int64_t c = 0; c < g.channels; ++c) {
    double sum = 0;
    for (int64_t line = 0; line < lines; ++line) sum += shares[line * g.channels + c];
    dweight[c] = static_cast<T>(sum);
  }
}

template void prelu_forward<float>(const PreluGeometry&, const float*, const float*, float*);
template void prelu_forward<double>(const PreluGeometry&, const double*, const double*, double*);
template void prelu_backward<float>(const PreluGeometry&, const float*, const float*, const float*, float*,
                                    float*);
template void prelu_backward<double>(const PreluGeometry&, const double*, const double*, const double*,
                                     double*, double*);

}  // namespace neocog
