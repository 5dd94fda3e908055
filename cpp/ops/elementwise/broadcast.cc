#include "ops/elementwise/broadcast.h"

#include <algorithm>
#include <vector>

#include "core/parallel.h"
#include "core/scratch.h"
#include "core/window.h"

namespace neocog {
namespace {

constexpr int64_t kChunk = 1 << 14;    // values one thread takes at a time
constexpr int64_t kColumns = 1 << 12;  // columns whose float64 sums stay in the first-level cache
constexpr int64_t kRows = 1 << 10;     // rows of one partial sum over columns

int64_t product(Shape shape) {
  int64_t n = 1;
  for (const int64_t size : shape) n *= size;
  return n;
}

// Neighbouring axes that both operands treat alike, as one.
struct Axis {
  int64_t size;
  bool in_a, in_b;
};

std::vector<Axis> merged_axes(Shape a, Shape b) {
  std::vector<Axis> axes;
  for (size_t i = 0; i < a.size(); ++i) {
    const int64_t size = a[i] == 1 ? b[i] : a[i];
    if (size == 1) continue;
    const Axis axis{size, a[i] != 1, b[i] != 1};
    if (!axes.empty() && axes.back().in_a == axis.in_a && axes.back().in_b == axis.in_b) {
      axes.back().size *= size;
    } else {
      axes.push_back(axis);
    }
  }
  return axes;
}

// Where the rows of an operand start, rows being counted over all axes but the last.
class RowOffsets {
 public:
  RowOffsets(const std::vector<Axis>& axes, bool Axis::* present) {
    int64_t stride = axes.back().*present ? axes.back().size : 1;
    for (size_t i = axes.size() - 1; i-- > 0;) {
      const bool in = axes[i].*present;
      steps_.push_back({axes[i].size, in ? stride : 0});
      if (in) stride *= axes[i].size;
    }
  }
  int64_t operator()(int64_t row) const {
    int64_t offset = 0;
    for (const Step& s : steps_) {
      offset += row % s.size * s.stride;
      row /= s.size;
    }
    return offset;
  }
  // Distance between two rows that differ in the last counted axis only.
  int64_t step() const { return steps_.empty() ? 0 : steps_.front().stride; }

 private:
  struct Step {
    int64_t size, stride;
  };
  std::vector<Step> steps_;  // innermost first
};

// y (outer) = sums of the rows of x (outer, n).
template <class T>
void sum_last(int64_t outer, int64_t n, const T* x, T* y) {
  const BroadcastKernels<T>& kernels = broadcast_kernels<T>();
  const int64_t length = min64(n, 4 * kChunk), pieces = ceil_div(n, length), block = max64(1, kChunk / n);
  Scratch scratch(Scratch::bytes_of<double>(outer * pieces));
  double* const partial = scratch.take<double>(outer * pieces);
  if (pieces == 1) {
    parallel_for(ceil_div(outer, block), [&](int64_t item, int) {
      const int64_t first = item * block;
      kernels.sum_rows(x + first * n, min64(block, outer - first), n, partial + first);
    });
  } else {
    parallel_for(outer * pieces, [&](int64_t item, int) {
      const int64_t first = item % pieces * length;
      kernels.sum_rows(x + item / pieces * n + first, 1, min64(length, n - first), partial + item);
    });
  }
  for (int64_t o = 0; o < outer; ++o) {
    double sum = 0;
    for (int64_t p = 0; p < pieces; ++p) sum += partial[o * pieces + p];
    y[o] = static_cast<T>(sum);
  }
}

// y (outer, inner) = sum over the middle axis of x (outer, n, inner).
template <class T>
void sum_middle(int64_t outer, int64_t n, int64_t inner, const T* x, T* y) {
  const BroadcastKernels<T>& kernels = broadcast_kernels<T>();
  const int64_t width = min64(inner, kColumns), blocks = ceil_div(inner, width);
  const int64_t height = min64(n, max64(kRows, 4 * kChunk / width)), pieces = ceil_div(n, height);
  const int64_t items = outer * blocks * pieces;
  // One piece is finished by the thread that summed it, in a buffer of its own.
  const int threads = threads_for(items);
  const int64_t buffers = pieces == 1 ? threads : items;
  Scratch scratch(Scratch::bytes_of<double>(buffers * width));
  double* const sums = scratch.take<double>(buffers * width);
  const auto finish = [&](int64_t block, double* partial) {
    const int64_t first = block % blocks * width, count = min64(width, inner - first);
    T* const to = y + block / blocks * inner + first;
    for (int64_t p = 1; p < pieces; ++p) {
      for (int64_t i = 0; i < count; ++i) partial[i] += partial[p * width + i];
    }
    for (int64_t i = 0; i < count; ++i) to[i] = static_cast<T>(partial[i]);
  };
  parallel_for(items, threads, [&](int64_t item, int thread) {
    const int64_t block = item / pieces, row = item % pieces * height, first = block % blocks * width;
    double* const partial = sums + (pieces == 1 ? thread : item) * width;
    kernels.sum_columns(x + (block / blocks * n + row) * inner + first, min64(height, n - row), inner,
                        min64(width, inner - first), partial);
    if (pieces == 1) finish(block, partial);
  });
  if (pieces > 1) {
    for (int64_t block = 0; block < outer * blocks; ++block) finish(block, sums + block * pieces * width);
  }
}

}  // namespace

template <class T>
void broadcast_add(Activation f, T alpha, Shape a_shape, Shape b_shape, const T* a, const T* b, T* y) {
  std::vector<Axis> axes = merged_axes(a_shape, b_shape);
  if (axes.empty()) axes.push_back({1, true, true});
  for (const Axis& axis : axes) {
    if (axis.size == 0) return;
  }
  if (!axes.back().in_a) {  // the kernels repeat b only
    std::swap(a, b);
    for (Axis& axis : axes) std::swap(axis.in_a, axis.in_b);
  }
  if (axes.size() == 1 && axes[0].in_b) {
    elementwise_add<T>(f, alpha, a, b, y, axes[0].size);
    return;
  }
  const BroadcastKernels<T>& kernels = broadcast_kernels<T>();
  const auto activate = elementwise_kernels<T>().activate;
  const bool scalars = !axes.back().in_b;
  const auto add = scalars ? kernels.add_scalars : kernels.add_rows;
  const RowOffsets at_a(axes, &Axis::in_a), at_b(axes, &Axis::in_b);
  const int64_t n = axes.back().size, period = axes.size() > 1 ? axes[axes.size() - 2].size : 1;
  int64_t rows = 1;
  for (size_t i = 0; i + 1 < axes.size(); ++i) rows *= axes[i].size;
  const int64_t length = min64(n, kChunk), pieces = ceil_div(n, length), block = max64(1, kChunk / n);
  parallel_for(ceil_div(rows, block) * pieces, [&](int64_t item, int) {
    const int64_t first = item % pieces * length, count = min64(length, n - first);
    const int64_t begin = item / pieces * block, end = min64(rows, begin + block);
    for (int64_t row = begin; row < end;) {
      // Rows that differ in one axis only are one call.
      const int64_t run = min64(end - row, period - row % period);
      T* const to = y + row * n + first;
      add(a + at_a(row) + first, at_a.step(), b + at_b(row) + (scalars ? 0 : first), at_b.step(), to, n, run,
          count);
      row += run;
    }
    if (f != Activation::kIdentity) {
      T* const to = y + begin * n + first;
      activate(f, alpha, to, to, (end - begin - 1) * n + count);
    }
  });
}

template <class T>
void broadcast_sum(Shape x_shape, Shape y_shape, const T* x, T* y) {
  if (product(y_shape) == 0) return;
  const std::vector<Axis> axes = merged_axes(x_shape, y_shape);
  if (product(x_shape) == 0) {
    std::fill_n(y, product(y_shape), T(0));
    return;
  }
  int64_t sums = 0, outer = product(x_shape), inner = 1;
  for (const Axis& axis : axes) sums += !axis.in_b;
  if (sums == 0) {
    std::copy_n(x, outer, y);
    return;
  }
  std::vector<T> held, next;  // between two sums
  for (size_t i = axes.size(); i-- > 0;) {
    const int64_t n = axes[i].size;
    outer /= n;
    if (axes[i].in_b) {
      inner *= n;
      continue;
    }
    T* to = y;
    if (--sums > 0) {
      next.resize(outer * inner);
      to = next.data();
    }
    if (inner == 1) {
      sum_last(outer, n, x, to);
    } else {
      sum_middle(outer, n, inner, x, to);
    }
    held.swap(next);
    x = held.data();
  }
}

#define NEOCOG_INSTANTIATE(T)                                                          \
  template void broadcast_add<T>(Activation, T, Shape, Shape, const T*, const T*, T*); \
  template void broadcast_sum<T>(Shape, Shape, const T*, T*);
NEOCOG_INSTANTIATE(float)
NEOCOG_INSTANTIATE(double)
#undef NEOCOG_INSTANTIATE

}  // namespace neocog
