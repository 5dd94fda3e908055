// Axes are sorted and merged until few are left; then the innermost ones choose one of five loops:
//   runs         both sides contiguous: rows are copied whole
//   interleave   dst[u*R + k] = src[offset k + u]: R rows become R-tuples (a pixel shuffle, channels first)
//   deinterleave dst[offset k + u] = src[u*R + k]: R-tuples become R rows (a pixel shuffle, channels last)
//   transpose    contiguous along different long axes: blocks are turned in registers
//   table        everything else: offsets of a few thousand elements, computed once
#include "ops/rearrange/copy_strided.h"

#include <algorithm>
#include <cstring>
#include <type_traits>
#include <utility>

#include "core/parallel.h"
#include "core/window.h"
#include "ops/gemm/gemm.h"

namespace neocog {
namespace {

// Elements that are worth a thread's while: a few microseconds of copying.
constexpr int64_t kItem = 32768;
// A tuple of the interleaving loops is at most this long, so that a tuple and its rows' lines stay in the
// first cache.
constexpr int64_t kMaxTuple = 16;
// Shorter rows than this do not repay the set-up of a loop over them.
constexpr int64_t kShortRow = 8;
constexpr int64_t kMaxTable = 4096;
constexpr int64_t kTransposeRows = 128;

// Drops axes of size 1, sorts from the outermost axis of dst to the innermost, and merges what is contiguous
// on both sides.
void canonicalize(std::vector<CopyAxis>& axes) {
  std::erase_if(axes, [](const CopyAxis& axis) { return axis.size == 1; });
  std::sort(axes.begin(), axes.end(), [](const CopyAxis& a, const CopyAxis& b) { return a.dst > b.dst; });
  size_t kept = 0;
  for (size_t i = 0; i < axes.size(); ++i) {
    CopyAxis& last = axes[kept == 0 ? 0 : kept - 1];
    const CopyAxis next = axes[i];
    if (kept > 0 && last.src == next.size * next.src && last.dst == next.size * next.dst) {
      last = {last.size * next.size, next.src, next.dst};
    } else {
      axes[kept++] = next;
    }
  }
  axes.resize(kept);
}

CopyAxis take(std::vector<CopyAxis>& axes, size_t i) {
  const CopyAxis axis = axes[i];
  axes.erase(axes.begin() + static_cast<std::ptrdiff_t>(i));
  return axis;
}

// Position in the array that the outer axes have reached.
class Odometer {
 public:
  Odometer(const std::vector<CopyAxis>& axes, int64_t position) : axes_(axes) {
    for (size_t d = axes.size(); d-- > 0; position /= axes[d].size) {
      index_[d] = position % axes[d].size;
      src_ += index_[d] * axes[d].src;
      dst_ += index_[d] * axes[d].dst;
    }
  }
  void advance() {
    for (size_t d = axes_.size(); d-- > 0;) {
      src_ += axes_[d].src;
      dst_ += axes_[d].dst;
      if (++index_[d] < axes_[d].size) return;
      src_ -= axes_[d].size * axes_[d].src;
      dst_ -= axes_[d].size * axes_[d].dst;
      index_[d] = 0;
    }
  }
  int64_t src() const { return src_; }
  int64_t dst() const { return dst_; }

 private:
  const std::vector<CopyAxis>& axes_;
  int64_t index_[kMaxCopyAxes], src_ = 0, dst_ = 0;
};

// Calls block(src, dst, begin, end) for every position of the outer axes and every stretch [begin, end) of a
// loop over `length` steps that move `width` elements each. A long loop is cut into stretches; a short one
// runs whole, and many times in a row along the innermost of the outer axes.
template <class T, class Block>
void for_blocks(std::vector<CopyAxis> outer, int64_t length, int64_t width, const T* src, T* dst,
                const Block& block) {
  const bool cut = outer.empty() || length * width >= kItem;
  const CopyAxis rows = cut ? CopyAxis{1, 0, 0} : take(outer, outer.size() - 1);
  const int64_t row_step = min64(rows.size, max64(1, kItem / (length * width)));
  const int64_t step = cut ? min64(length, round_up(max64(1, kItem / width), kTransposeRows)) : length;
  const int64_t stretches = ceil_div(length, step), steps = ceil_div(rows.size, row_step) * stretches;
  int64_t positions = 1;
  for (const CopyAxis& axis : outer) positions *= axis.size;
  const int64_t blocks = positions * steps, per_item = max64(1, kItem / (row_step * step * width));
  parallel_for(ceil_div(blocks, per_item), [&](int64_t item, int) {
    const int64_t first = item * per_item, last = min64(blocks, first + per_item);
    Odometer at(outer, first / steps);
    int64_t s = first % steps;
    for (int64_t b = first; b < last; ++b) {
      const int64_t begin = s % stretches * step, end = min64(length, begin + step);
      const int64_t row = s / stretches * row_step, row_end = min64(rows.size, row + row_step);
      const T* from = src + at.src() + row * rows.src;
      T* to = dst + at.dst() + row * rows.dst;
      for (int64_t r = row; r < row_end; ++r, from += rows.src, to += rows.dst) block(from, to, begin, end);
      if (++s == steps) {
        s = 0;
        at.advance();
      }
    }
  });
}

// Calls f(std::integral_constant<int, R>) with R the length of the tuple if a loop is built for it, and 0
// otherwise.
template <class F>
void with_tuple(int64_t tuple, const F& f) {
  switch (tuple) {
    case 2: return f(std::integral_constant<int, 2>{});
    case 3: return f(std::integral_constant<int, 3>{});
    case 4: return f(std::integral_constant<int, 4>{});
    default: return f(std::integral_constant<int, 0>{});
  }
}

// R = 0: the length of the tuple is known at run time only.
template <int R, class T>
void interleave(const T* src, const int64_t* offset, int64_t tuple, int64_t begin, int64_t end,
                T* __restrict dst) {
  if constexpr (R == 0) {
    for (int64_t k = 0; k < tuple; ++k) {
      for (int64_t u = begin; u < end; ++u) dst[u * tuple + k] = src[offset[k] + u];
    }
  } else {
    const T* row[R];
    for (int k = 0; k < R; ++k) row[k] = src + offset[k];
#pragma GCC ivdep
    for (int64_t u = begin; u < end; ++u) {
#pragma GCC unroll 4
      for (int k = 0; k < R; ++k) dst[u * R + k] = row[k][u];
    }
  }
}

template <int R, class T>
void deinterleave(const T* __restrict src, const int64_t* offset, int64_t tuple, int64_t begin, int64_t end,
                  T* dst) {
  if constexpr (R == 0) {
    for (int64_t k = 0; k < tuple; ++k) {
      for (int64_t u = begin; u < end; ++u) dst[offset[k] + u] = src[u * tuple + k];
    }
  } else {
    T* row[R];
    for (int k = 0; k < R; ++k) row[k] = dst + offset[k];
#pragma GCC ivdep
    for (int64_t u = begin; u < end; ++u) {
#pragma GCC unroll 4
      for (int k = 0; k < R; ++k) row[k][u] = src[u * R + k];
    }
  }
}

// A group of axes that are dense on one side: together they form the tuples of that side.
struct Tuple {
  std::vector<size_t> axes;  // innermost first
  int64_t size = 1;
};

template <class Dense>
Tuple dense_tuple(const std::vector<CopyAxis>& axes, Dense dense) {
  Tuple tuple;
  for (bool found = true; found;) {
    found = false;
    for (size_t i = axes.size(); i-- > 0;) {
      if (dense(axes[i]) != tuple.size || axes[i].size * tuple.size > kMaxTuple) continue;
      if (std::find(tuple.axes.begin(), tuple.axes.end(), i) != tuple.axes.end()) continue;
      tuple.axes.push_back(i);
      tuple.size *= axes[i].size;
      found = true;
      break;
    }
  }
  return tuple;
}

// Offsets of the tuple's elements on its other side.
template <class Other>
std::vector<int64_t> tuple_offsets(const std::vector<CopyAxis>& axes, const Tuple& tuple, Other other) {
  std::vector<int64_t> offset{0};
  for (const size_t i : tuple.axes) {
    const size_t inner = offset.size();
    for (int64_t j = 1; j < axes[i].size; ++j) {
      for (size_t k = 0; k < inner; ++k) offset.push_back(offset[k] + j * other(axes[i]));
    }
  }
  return offset;
}

std::vector<CopyAxis> without(const std::vector<CopyAxis>& axes, const Tuple& tuple, size_t loop) {
  std::vector<CopyAxis> rest;
  for (size_t i = 0; i < axes.size(); ++i) {
    if (i != loop && std::find(tuple.axes.begin(), tuple.axes.end(), i) == tuple.axes.end())
      rest.push_back(axes[i]);
  }
  return rest;
}

template <class T>
bool try_interleave(const std::vector<CopyAxis>& axes, const T* src, T* dst) {
  const Tuple tuple = dense_tuple(axes, [](const CopyAxis& axis) { return axis.dst; });
  if (tuple.size < 2) return false;
  for (size_t i = 0; i < axes.size(); ++i) {
    const CopyAxis loop = axes[i];
    if (loop.src != 1 || loop.dst != tuple.size || loop.size < kShortRow) continue;
    const std::vector<int64_t> offset =
        tuple_offsets(axes, tuple, [](const CopyAxis& axis) { return axis.src; });
    with_tuple(tuple.size, [&](auto length) {
      for_blocks(without(axes, tuple, i), loop.size, tuple.size, src, dst,
                 [&](const T* from, T* to, int64_t begin, int64_t end) {
                   interleave<length.value>(from, offset.data(), tuple.size, begin, end, to);
                 });
    });
    return true;
  }
  return false;
}

template <class T>
bool try_deinterleave(const std::vector<CopyAxis>& axes, const T* src, T* dst) {
  const Tuple tuple = dense_tuple(axes, [](const CopyAxis& axis) { return axis.src; });
  if (tuple.size < 2) return false;
  for (size_t i = 0; i < axes.size(); ++i) {
    const CopyAxis loop = axes[i];
    if (loop.dst != 1 || loop.src != tuple.size || loop.size < kShortRow) continue;
    const std::vector<int64_t> offset =
        tuple_offsets(axes, tuple, [](const CopyAxis& axis) { return axis.dst; });
    with_tuple(tuple.size, [&](auto length) {
      for_blocks(without(axes, tuple, i), loop.size, tuple.size, src, dst,
                 [&](const T* from, T* to, int64_t begin, int64_t end) {
                   deinterleave<length.value>(from, offset.data(), tuple.size, begin, end, to);
                 });
    });
    return true;
  }
  return false;
}

template <class T>
bool try_transpose(std::vector<CopyAxis> axes, const T* src, T* dst) {
  const CopyAxis row = axes.back();  // contiguous in dst
  if (row.dst != 1 || row.size < kShortRow) return false;
  for (size_t i = 0; i + 1 < axes.size(); ++i) {
    if (axes[i].src != 1 || axes[i].size < kShortRow) continue;
    const CopyAxis column = axes[i];
    axes.pop_back();
    take(axes, i);
    const auto turn = gemm_kernels<T>().transpose;
    // The longer axis is shared among the threads; the shorter one may be only a few blocks long.
    if (column.size >= row.size) {
      for_blocks(axes, column.size, row.size, src, dst,
                 [&](const T* from, T* to, int64_t begin, int64_t end) {
                   for (int64_t r = 0; r < row.size; r += kTransposeRows) {
                     turn(from + r * row.src + begin, row.src, to + r + begin * column.dst, column.dst,
                          min64(kTransposeRows, row.size - r), end - begin);
                   }
                 });
    } else {
      for_blocks(axes, row.size, column.size, src, dst,
                 [&](const T* from, T* to, int64_t begin, int64_t end) {
                   for (int64_t r = begin; r < end; r += kTransposeRows) {
                     turn(from + r * row.src, row.src, to + r, column.dst, min64(kTransposeRows, end - r),
                          column.size);
                   }
                 });
    }
    return true;
  }
  return false;
}

template <class T>
void copy_runs(std::vector<CopyAxis> axes, const T* src, T* dst) {
  const int64_t run = take(axes, axes.size() - 1).size;
  for_blocks(std::move(axes), run, 1, src, dst, [](const T* from, T* to, int64_t begin, int64_t end) {
    std::memcpy(to + begin, from + begin, static_cast<size_t>(end - begin) * sizeof(T));
  });
}

template <class T>
void copy_by_table(std::vector<CopyAxis> axes, const T* src, T* dst) {
  struct Offsets {
    int64_t src, dst;
  };
  std::vector<Offsets> table{{0, 0}};
  while (!axes.empty() && static_cast<int64_t>(table.size()) * axes.back().size <= kMaxTable) {
    const CopyAxis axis = take(axes, axes.size() - 1);
    const size_t inner = table.size();
    table.reserve(inner * static_cast<size_t>(axis.size));
    for (int64_t j = 1; j < axis.size; ++j) {
      for (size_t k = 0; k < inner; ++k)
        table.push_back({table[k].src + j * axis.src, table[k].dst + j * axis.dst});
    }
  }
  const CopyAxis loop = axes.empty() ? CopyAxis{1, 0, 0} : take(axes, axes.size() - 1);
  for_blocks(axes, loop.size, static_cast<int64_t>(table.size()), src, dst,
             [&](const T* from, T* to, int64_t begin, int64_t end) {
               for (int64_t i = begin; i < end; ++i) {
                 const T* const a = from + i * loop.src;
                 T* const b = to + i * loop.dst;
                 for (const Offsets& offset : table) b[offset.dst] = a[offset.src];
               }
             });
}

}  // namespace

template <class T>
void copy_strided(std::vector<CopyAxis> axes, const T* src, T* dst) {
  for (const CopyAxis& axis : axes) {
    if (axis.size == 0) return;
  }
  canonicalize(axes);
  if (axes.empty()) {
    *dst = *src;
  } else if (axes.back().src == 1 && axes.back().dst == 1 &&
             (axes.back().size >= kShortRow || axes.size() == 1)) {
    copy_runs(std::move(axes), src, dst);
  } else if (!try_interleave(axes, src, dst) && !try_deinterleave(axes, src, dst) &&
             !try_transpose(axes, src, dst)) {
    copy_by_table(std::move(axes), src, dst);
  }
}

template void copy_strided<float>(std::vector<CopyAxis>, const float*, float*);
template void copy_strided<double>(std::vector<CopyAxis>, const double*, double*);

}  // namespace neocog
