// Channels last: kernels that see rows of all channels; no include guard on purpose.
#include "ops/batch_norm/batch_norm.h"
#include "ops/batch_norm/vectors-inl.h"
#include "ops/elementwise/activations-inl.h"

namespace neocog::NEOCOG_ISA {
namespace {

// Rows a float register or buffer adds up before it hands over to float64.
constexpr int64_t kBlockRows = 64;
// Columns of a tile: its buffers stay in the first-level cache while rows stream past in pieces of 4 KB.
constexpr int64_t kTileColumns = 1024;

// Calls f(c, n) for the vectors of a tile of `columns`; n lanes of the last one exist.
template <class T, class F>
NEOCOG_INLINE void each_column(int64_t columns, F f) {
  constexpr int64_t kLanes = Vec<T>::lanes;
  int64_t c = 0;
  for (; c + kLanes <= columns; c += kLanes) f(c, kLanes);
  if (c < columns) f(c, columns - c);
}

// Calls f.template operator()<n>(row) for groups of four rows and for those that are left: four rows share
// the loads and stores of the buffers.
template <class F>
NEOCOG_INLINE void each_row_group(int64_t rows, F f) {
  int64_t r = 0;
  for (; r + 4 <= rows; r += 4) f.template operator()<4>(r);
  for (; r < rows; ++r) f.template operator()<1>(r);
}

// A tile of at most kTileColumns columns and kBlockRows rows.
template <class T>
NEOCOG_INLINE void tile_moments(const T* x, int64_t rows, int64_t stride, int64_t columns, const T* pivot,
                                double* sums, double* squares) {
  using V = Vec<T>;
  alignas(64) T center[kTileColumns], sum[kTileColumns], square[kTileColumns];
  each_column<T>(columns, [&](int64_t c, int64_t) {
    V::zero().store(center + c);
    V::zero().store(sum + c);
    V::zero().store(square + c);
  });
  each_row_group(rows, [&]<int kRows>(int64_t r) {
    each_column<T>(columns, [&](int64_t c, int64_t lanes) {
      V rough = V::load(center + c);
#pragma GCC unroll 4
      for (int i = 0; i < kRows; ++i) rough = rough + load_lanes(x + (r + i) * stride + c, lanes);
      rough.store(center + c);
    });
  });
  const V share = V::set1(T(1) / static_cast<T>(rows));
  each_column<T>(columns, [&](int64_t c, int64_t) {
    const V mean = V::load(center + c) * share;
    select(eq(mean - mean, V::zero()), mean, V::zero()).store(center + c);  // any finite center is right
  });
  each_row_group(rows, [&]<int kRows>(int64_t r) {
    each_column<T>(columns, [&](int64_t c, int64_t lanes) {
      const V middle = V::load(center + c);
      V s = V::load(sum + c), q = V::load(square + c);
#pragma GCC unroll 4
      for (int i = 0; i < kRows; ++i) {
        const V d = load_lanes(x + (r + i) * stride + c, lanes) - middle;
        s = s + d;
        q = fma(d, d, q);
      }
      s.store(sum + c);
      q.store(square + c);
    });
  });
  const double count = static_cast<double>(rows);
  for (int64_t c = 0; c < columns; ++c) {
    add_moments(count, static_cast<double>(center[c]) - static_cast<double>(pivot[c]), sum[c], square[c],
                sums + c, squares + c);
  }
}

template <class T>
void columns_moments(const T* x, int64_t rows, int64_t columns, const T* pivot, double* sums,
                     double* squares) {
  for (int64_t r = 0; r < rows; r += kBlockRows) {
    for (int64_t c = 0; c < columns; c += kTileColumns) {
      tile_moments(x + r * columns + c, min64(kBlockRows, rows - r), columns,
                   min64(kTileColumns, columns - c), pivot + c, sums + c, squares + c);
    }
  }
}

template <bool kStream, class T, class F>
NEOCOG_INLINE void columns_normalize(F f, const BatchNormLines<T>& lines, const T* x, int64_t rows,
                                     int64_t columns, T* y) {
  using V = Vec<T>;
  const T *const center = lines.center, *const scale = lines.scale, *const shift = lines.shift;
  for (int64_t r = 0; r < rows; ++r, x += columns, y += columns) {
    each_vector<T>(columns, [&](int64_t c, int, int64_t lanes) {
      const V d = load_lanes(x + c, lanes) - load_lanes(center + c, lanes);
      store_lanes<kStream>(f(fma(d, load_lanes(scale + c, lanes), load_lanes(shift + c, lanes))), y + c,
                           lanes);
    });
  }
  if constexpr (kStream) V::fence();
}

template <class T>
void columns_forward(Activation activation, T alpha, const BatchNormLines<T>& lines, const T* x, int64_t rows,
                     int64_t columns, bool stream, T* y) {
  with_activation(activation, alpha, [&](auto f) {
    if (stream) {
      columns_normalize<true>(f, lines, x, rows, columns, y);
    } else {
      columns_normalize<false>(f, lines, x, rows, columns, y);
    }
  });
}

template <class T, class F>
NEOCOG_INLINE void tile_sums(F f, const BatchNormLine<const T*>& forward, const T* dy, const T* x,
                             int64_t rows, int64_t stride, int64_t columns, double* sums, double* products) {
  using V = Vec<T>;
  alignas(64) T sum[kTileColumns], product[kTileColumns];
  each_column<T>(columns, [&](int64_t c, int64_t) {
    V::zero().store(sum + c);
    V::zero().store(product + c);
  });
  each_row_group(rows, [&]<int kRows>(int64_t r) {
    each_column<T>(columns, [&](int64_t c, int64_t lanes) {
      const V center = load_lanes(forward.center + c, lanes), scale = load_lanes(forward.scale + c, lanes),
              shift = load_lanes(forward.shift + c, lanes);
      V s = V::load(sum + c), p = V::load(product + c);
#pragma GCC unroll 4
      for (int i = 0; i < kRows; ++i) {
        const int64_t at = (r + i) * stride + c;
        const V d = load_lanes(x + at, lanes) - center;
        const V g = through(f, load_lanes(dy + at, lanes), fma(d, scale, shift));
        s = s + g;
        p = fma(g, d, p);
      }
      s.store(sum + c);
      p.store(product + c);
    });
  });
  for (int64_t c = 0; c < columns; ++c) {
    sums[c] += sum[c];
    products[c] += product[c];
  }
}

template <class T>
void columns_sums(Activation activation, T alpha, const BatchNormLines<T>& forward, const T* dy, const T* x,
                  int64_t rows, int64_t columns, double* sums, double* products) {
  with_activation(activation, alpha, [&](auto f) {
    for (int64_t r = 0; r < rows; r += kBlockRows) {
      for (int64_t c = 0; c < columns; c += kTileColumns) {
        const int64_t at = r * columns + c;
        tile_sums<T>(f, {forward.center + c, forward.scale + c, nullptr, forward.shift + c}, dy + at, x + at,
                     min64(kBlockRows, rows - r), columns, min64(kTileColumns, columns - c), sums + c,
                     products + c);
      }
    }
  });
}

template <bool kStream, bool kMoving, class T, class F>
NEOCOG_INLINE void columns_gradient(F f, const BatchNormLines<T>& forward, const BatchNormLines<T>& lines,
                                    const T* dy, const T* x, int64_t rows, int64_t columns, T* dx) {
  using V = Vec<T>;
  const auto of = [](const T* values, int64_t c, int64_t lanes) { return load_lanes(values + c, lanes); };
  for (int64_t r = 0; r < rows; ++r, dy += columns, x += columns, dx += columns) {
    each_vector<T>(columns, [&](int64_t c, int, int64_t lanes) {
      const V d = load_lanes(x + c, lanes) - of(lines.center, c, lanes);
      const V z = fma(d, of(forward.scale, c, lanes), of(forward.shift, c, lanes));
      const V g = through(f, load_lanes(dy + c, lanes), z), scale = of(lines.scale, c, lanes);
      if constexpr (kMoving) {
        const V rest = fma(d, of(lines.slope, c, lanes), of(lines.shift, c, lanes));
        store_lanes<kStream>(fma(g, scale, rest), dx + c, lanes);
      } else {
        store_lanes<kStream>(g * scale, dx + c, lanes);
      }
    });
  }
  if constexpr (kStream) V::fence();
}

template <class T>
void columns_backward(Activation activation, T alpha, const BatchNormLines<T>& forward,
                      const BatchNormLines<T>& lines, bool moving, const T* dy, const T* x, int64_t rows,
                      int64_t columns, bool stream, T* dx) {
  with_activation(activation, alpha, [&](auto f) {
    if (!moving) {
      columns_gradient<false, false>(f, forward, lines, dy, x, rows, columns, dx);
    } else if (stream) {
      columns_gradient<true, true>(f, forward, lines, dy, x, rows, columns, dx);
    } else {
      columns_gradient<false, true>(f, forward, lines, dy, x, rows, columns, dx);
    }
  });
}

}  // namespace
}  // namespace neocog::NEOCOG_ISA
