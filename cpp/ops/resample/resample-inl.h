// Kernel bodies of resample.h, compiled once per instruction set; no include guard on purpose.
// The including file has defined lookup, lookup_valid, gather and gather_valid for its registers.
#include "core/window.h"
#include "ops/resample/resample.h"

namespace neocog::NEOCOG_ISA {
namespace {

// Calls body(offset, lanes that exist) for registers that cover n elements.
template <class T, class Body>
NEOCOG_INLINE void for_vectors(int64_t n, Body body) {
  int64_t i = 0;
#pragma GCC unroll 4
  for (; i + Vec<T>::lanes <= n; i += Vec<T>::lanes) body(i, Vec<T>::lanes);
  if (i < n) body(i, n - i);
}

template <class T>
NEOCOG_INLINE Vec<T> load_some(const T* p, int64_t n) {
  return n == Vec<T>::lanes ? Vec<T>::load(p) : Vec<T>::load_n(p, n);
}

template <class T>
NEOCOG_INLINE void store_some(Vec<T> v, T* p, int64_t n) {
  if (n == Vec<T>::lanes) {
    v.store(p);
  } else {
    v.store_n(p, n);
  }
}

template <class T>
NEOCOG_INLINE void copy(const T* from, int64_t n, T* to) {
  for_vectors<T>(n, [&](int64_t i, int64_t some) { store_some(load_some(from + i, some), to + i, some); });
}

template <class T>
NEOCOG_INLINE void blend(const T* a, T weight_a, const T* b, T weight_b, int64_t n, T* y) {
  using V = Vec<T>;
  const V wa = V::set1(weight_a), wb = V::set1(weight_b);
  for_vectors<T>(n, [&](int64_t i, int64_t some) {
    store_some(fma(load_some(b + i, some), wb, load_some(a + i, some) * wa), y + i, some);
  });
}

// Elements [start, start + lanes) of a row of n; 0 past its end.
template <class T>
NEOCOG_INLINE Vec<T> load_inside(const T* row, int64_t n, int64_t start) {
  if (start + Vec<T>::lanes <= n) return Vec<T>::load(row + start);
  return start < n ? Vec<T>::load_n(row + start, n - start) : Vec<T>::zero();
}

// The registers of a group's window, loaded once for all its index tables.
template <class T>
struct WindowReader {
  const T* row;
  int registers;
  Vec<T> low, high;

  NEOCOG_INLINE WindowReader(const T* row_, int64_t n, Window window)
      : row(row_), registers(window.registers), low(Vec<T>::zero()), high(Vec<T>::zero()) {
    if (registers > 0) low = load_inside(row, n, window.start);
    if (registers > 1) high = load_inside(row, n, window.start + Vec<T>::lanes);
  }
  NEOCOG_INLINE Vec<T> read(const int32_t* index) const {
    if (registers == 0) return gather(row, index);
    return registers == 1 ? lookup(low, index) : lookup_valid(low, high, index);
  }
};

// A group of a row, expanded to the columns of the result.
template <class T>
NEOCOG_INLINE Vec<T> linear_group(const LaneTable<T>& table, const T* row, int64_t o) {
  const WindowReader<T> window(row, table.in, table.window[o / Vec<T>::lanes]);
  const Vec<T> a = window.read(table.index0 + o), b = window.read(table.index1 + o);
  return fma(b, Vec<T>::load(table.weight1 + o), a * Vec<T>::load(table.weight0 + o));
}

template <class T>
NEOCOG_INLINE void linear_row(const LaneTable<T>& table, const T* row, int64_t begin, int64_t end, T* out) {
  for (int64_t o = begin; o < end; o += Vec<T>::lanes, out += Vec<T>::lanes) {
    store_some(linear_group(table, row, o), out, min64(Vec<T>::lanes, end - o));
  }
}

// Every row of the result blends two rows of x, expanded to the block's columns. Following rows need the same
// two, or one of them, so the last two stay in the workspace.
template <class T>
void linear_lanes(const ResampleBlock<T>& g, const PixelTable<T>& rows, const LaneTable<T>& columns) {
  T* y = g.y + g.row_begin * g.y_row + g.column_begin;
  if (!g.planar) return linear_row(columns, g.x, g.column_begin, g.column_end, y);
  const int64_t width = g.column_end - g.column_begin;
  T* const held[2] = {g.workspace, g.workspace + round_up(width, Vec<T>::lanes)};
  int64_t source[2] = {-1, -1};
  const auto hold = [&](int place, int64_t row) {
    if (source[place] == row) return;
    linear_row(columns, g.x + row * g.x_row, g.column_begin, g.column_end, held[place]);
    source[place] = row;
  };
  for (int64_t o = g.row_begin; o < g.row_end; ++o, y += g.y_row) {
    const int64_t upper = rows.index0[o], lower = rows.index1[o];
    // A row that is held stays where it is.
    const int first = source[1] == upper || (source[0] != upper && source[0] == lower) ? 1 : 0;
    const int second = upper == lower ? first : 1 - first;
    hold(first, upper);
    hold(second, lower);
    blend(held[first], rows.weight0[o], held[second], rows.weight1[o], width, y);
  }
}

// The same for images that shrink by two or more: no row is read twice, so nothing is held.
template <class T>
void linear_lanes_shrink(const ResampleBlock<T>& g, const PixelTable<T>& rows, const LaneTable<T>& columns) {
  using V = Vec<T>;
  for (int64_t o = g.row_begin; o < g.row_end; ++o) {
    const T* const upper = g.x + rows.index0[o] * g.x_row;
    const T* const lower = g.x + rows.index1[o] * g.x_row;
    const V upper_weight = V::set1(rows.weight0[o]), lower_weight = V::set1(rows.weight1[o]);
    T* const y = g.y + o * g.y_row;
    for (int64_t c = g.column_begin; c < g.column_end; c += V::lanes) {
      const V blended =
          fma(linear_group(columns, lower, c), lower_weight, linear_group(columns, upper, c) * upper_weight);
      store_some(blended, y + c, min64(V::lanes, g.column_end - c));
    }
  }
}

// Four pixels at once: their rows stay in the first cache, and channels fill the registers.
template <class T>
void linear_pixels(const ResampleBlock<T>& g, const PixelTable<T>& rows, const PixelTable<T>& columns) {
  using V = Vec<T>;
  for (int64_t o = g.row_begin; o < g.row_end; ++o) {
    T* y = g.y + o * g.y_row + g.column_begin * g.run;
    const T* const upper = g.x + rows.index0[o] * g.x_row;
    const T* const lower = g.x + rows.index1[o] * g.x_row;
    const V upper_weight = V::set1(rows.weight0[o]), lower_weight = V::set1(rows.weight1[o]);
    for (int64_t c = g.column_begin; c < g.column_end; ++c, y += g.run) {
      const int64_t left = columns.index0[c] * g.run, right = columns.index1[c] * g.run;
      if (!g.planar) {
        blend(upper + left, columns.weight0[c], upper + right, columns.weight1[c], g.run, y);
        continue;
      }
      const V left_weight = V::set1(columns.weight0[c]), right_weight = V::set1(columns.weight1[c]);
      for_vectors<T>(g.run, [&](int64_t i, int64_t some) {
        const V top = fma(load_some(upper + right + i, some), right_weight,
                          load_some(upper + left + i, some) * left_weight);
        const V bottom = fma(load_some(lower + right + i, some), right_weight,
                             load_some(lower + left + i, some) * left_weight);
        store_some(fma(bottom, lower_weight, top * upper_weight), y + i, some);
      });
    }
  }
}

// Rows of the result that read the same row of x are copies of the first of them.
template <class T, class Expand>
NEOCOG_INLINE void nearest_rows(const ResampleBlock<T>& g, const PixelTable<T>& rows, Expand expand) {
  T* y = g.y + g.row_begin * g.y_row + g.column_begin * g.run;
  const int64_t width = (g.column_end - g.column_begin) * g.run;
  for (int64_t o = g.row_begin; o < g.row_end; ++o, y += g.y_row) {
    if (o > g.row_begin && rows.index0[o] == rows.index0[o - 1]) {
      copy(y - g.y_row, width, y);
    } else {
      expand(g.x + rows.index0[o] * g.x_row, y);
    }
  }
}

template <class T>
void nearest_lanes(const ResampleBlock<T>& g, const PixelTable<T>& rows, const LaneTable<T>& columns) {
  using V = Vec<T>;
  nearest_rows(g, rows, [&](const T* row, T* out) {
    for (int64_t o = g.column_begin; o < g.column_end; o += V::lanes, out += V::lanes) {
      const WindowReader<T> window(row, columns.in, columns.window[o / V::lanes]);
      store_some(window.read(columns.index0 + o), out, min64(V::lanes, g.column_end - o));
    }
  });
}

template <class T>
void nearest_pixels(const ResampleBlock<T>& g, const PixelTable<T>& rows, const PixelTable<T>& columns) {
  nearest_rows(g, rows, [&](const T* row, T* out) {
    for (int64_t o = g.column_begin; o < g.column_end; ++o, out += g.run) {
      copy(row + columns.index0[o] * g.run, g.run, out);
    }
  });
}

// out[j] = sum over the copies k in [begin, end) of weight[k] * data[(index[k] - origin) * stride + j], j <
// n.
template <class T>
NEOCOG_INLINE void gather_copies(const PixelCopies<T>& copies, int64_t begin, int64_t end, const T* data,
                                 int64_t origin, int64_t stride, int64_t n, T* out) {
  using V = Vec<T>;
  constexpr int kVectors = 4;  // sums in flight, to hide the latency of the additions
  int64_t j = 0;
  for (; j + kVectors * V::lanes <= n; j += kVectors * V::lanes) {
    V sum[kVectors];
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) sum[v] = V::zero();
    for (int64_t k = begin; k < end; ++k) {
      const T* const from = data + (copies.index[k] - origin) * stride + j;
      const V weight = V::set1(copies.weight[k]);
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) sum[v] = fma(V::load(from + v * V::lanes), weight, sum[v]);
    }
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) sum[v].store(out + j + v * V::lanes);
  }
  for (; j < n; j += V::lanes) {
    const int64_t some = min64(V::lanes, n - j);
    V sum = V::zero();
    for (int64_t k = begin; k < end; ++k) {
      sum = fma(load_some(data + (copies.index[k] - origin) * stride + j, some), V::set1(copies.weight[k]),
                sum);
    }
    store_some(sum, out + j, some);
  }
}

// Calls reduce(row of dy, row of dx) for every row of dx, where the row of dy is the sum of those that were
// copied from it; its stretch [dy_begin, dy_end) stands at `first` of the workspace.
template <class T, class Reduce>
NEOCOG_INLINE void backward_rows(const ResampleBlock<T>& g, const PixelCopies<T>& rows, int64_t dy_begin,
                                 int64_t dy_end, int64_t first, Reduce reduce) {
  T* dx = g.y + g.row_begin * g.y_row + g.column_begin * g.run;
  if (!g.planar) return reduce(g.x + (dy_begin - first), dx);
  const int64_t width = (g.column_end - g.column_begin) * g.run;
  for (int64_t i = g.row_begin; i < g.row_end; ++i, dx += g.y_row) {
    if (rows.first[i] == rows.first[i + 1]) {
      for_vectors<T>(width, [&](int64_t j, int64_t some) { store_some(Vec<T>::zero(), dx + j, some); });
      continue;
    }
    gather_copies(rows, rows.first[i], rows.first[i + 1], g.x + dy_begin, 0, g.x_row, dy_end - dy_begin,
                  g.workspace + first);
    reduce(g.workspace, dx);
  }
}

template <class T>
void backward_lanes(const ResampleBlock<T>& g, const PixelCopies<T>& rows, const LaneCopies<T>& columns,
                    int64_t dy_begin, int64_t dy_end) {
  using V = Vec<T>;
  backward_rows(g, rows, dy_begin, dy_end, dy_begin, [&](const T* dy, T* dx) {
    for (int64_t i = g.column_begin; i < g.column_end; i += V::lanes, dx += V::lanes) {
      V sum = V::zero();
      for (int64_t k = columns.first[i / V::lanes]; k < columns.first[i / V::lanes + 1]; ++k) {
        const int32_t* const index = columns.index + k * V::lanes;
        const Window window = columns.window[k];
        const V copies = window.registers == 0
                             ? gather_valid(dy, index)
                             : lookup_valid(load_inside(dy, columns.out, window.start),
                                            load_inside(dy, columns.out, window.start + V::lanes), index);
        sum = fma(copies, V::load(columns.weight + k * V::lanes), sum);
      }
      store_some(sum, dx, min64(V::lanes, g.column_end - i));
    }
  });
}

template <class T>
void backward_pixels(const ResampleBlock<T>& g, const PixelCopies<T>& rows, const PixelCopies<T>& columns,
                     int64_t dy_begin, int64_t dy_end) {
  backward_rows(g, rows, dy_begin * g.run, dy_end * g.run, 0, [&](const T* dy, T* dx) {
    for (int64_t i = g.column_begin; i < g.column_end; ++i, dx += g.run) {
      gather_copies(columns, columns.first[i], columns.first[i + 1], dy, dy_begin, g.run, g.run, dx);
    }
  });
}

template <class T>
constexpr ResampleKernels<T> kResampleTable = {
    Vec<T>::lanes,     kLookupPays,        &linear_lanes<T>,   &linear_lanes_shrink<T>, &linear_pixels<T>,
    &nearest_lanes<T>, &nearest_pixels<T>, &backward_lanes<T>, &backward_pixels<T>};

}  // namespace

extern constinit const ResampleKernels<float> resample_kernels_f32 = kResampleTable<float>;
#if NEOCOG_ISA_HAS_DOUBLE
extern constinit const ResampleKernels<double> resample_kernels_f64 = kResampleTable<double>;
#endif

}  // namespace neocog::NEOCOG_ISA
